/* A simulated network for the latency figure: NASes that send accounting at a rate, are told to disconnect, and obey.
 *
 *   cc -O2 -o network bench/network.c && ./network PORT ACCOUNTING_SECRET DISCONNECT_SECRET
 *
 * NAS n is the address 127.0.1.(n + 1): it sends to 127.0.0.1:PORT from SOCKETS sockets, since each has 256 Identifiers (RFC 2866 section 3)
 * and an ingest that is behind must not make them run out, and is disconnected at one more. The first line on standard output has the ports
 * of these. Then each line of standard input is one of
 *
 *   run RATE WARM_S MEASURED_S STRAGGLE_S    records at a rate (an open loop that makes up for what it missed), then everybody logs out
 *   one WITHIN_S                             somebody new logs in, and at once again from another device
 *
 * and is answered by a line for each breach that was measured, with three times in nanoseconds since the epoch, 0: never: when its packet was
 * sent, answered, and its session told to end; and by a last line `end` with counts since the start: records without an answer, those whose
 * Identifier was needed again, datagrams with a wrong authenticator (such as answers to what was given up), Disconnect-Requests for sessions
 * that breach nothing, and those for a session that was told to end before. It ends with its standard input.
 *
 * Each person logs in once and, BREACH_AFTER persons later, once more from another device, which `max_sessions = 1` refuses; that is one of
 * CYCLE records. Both ends of the clock are the kernel's or right beside it: the time before `send`, and the time at which the kernel took
 * the datagram in (SO_TIMESTAMPNS), so what this program does in between is not in the figure.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "radius.h"

#define NASES 8
#define SOCKETS 16
#define IDENTIFIERS 256
#define CYCLE 10
#define STOP_TURN 2
#define BREACH_AFTER 50
#define STOP_AFTER 500
#define BURST 64 /* records between two looks at what came, however late it is */
#define ACCOUNTING_REQUEST 4
#define ACCOUNTING_RESPONSE 5
#define DISCONNECT_REQUEST 40
#define DISCONNECT_ACK 41
#define ACCT_SESSION_ID 44
enum { START = 1, STOP = 2, INTERIM = 3 };

/* ---- what is known of breaches, by the person's number ---- */
struct breach {
    int64_t sent_ns, answered_ns, requested_ns;
};
static struct breach *breaches;
static long breaches_max, persons_before;
static long unanswered, given_up, not_believed, false_ones, repeated;

/* ---- NASes ---- */
struct request {
    uint8_t authenticator[16];
    int is_awaited;
    long breach; /* a person's number; -1: none */
};
static struct nas {
    int accounting[SOCKETS], disconnect;
    unsigned count;
    struct request sent[SOCKETS * IDENTIFIERS];
} nases[NASES];
static const char *accounting_secret, *disconnect_secret;
static int polled;

static int64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct breach *breach_of(long number)
{
    if (number >= breaches_max) {
        long before = breaches_max;
        breaches_max = number * 2 + 1024;
        breaches = realloc(breaches, breaches_max * sizeof *breaches);
        if (!breaches) exit(1);
        memset(breaches + before, 0, (breaches_max - before) * sizeof *breaches);
    }
    return &breaches[number];
}

static void say(int status, long number, char device)
{
    struct nas *nas = &nases[number % NASES];
    uint8_t packet[PACKET_MAX], address[4] = {127, 0, 1, number % NASES + 1};
    char text[64];
    int at = HEADER;
    at = put_number(packet, at, 40, status);
    snprintf(text, sizeof text, "%08lx%c", number, device);
    at = put_text(packet, at, ACCT_SESSION_ID, text);
    snprintf(text, sizeof text, "user-%08lx@example.net", number);
    at = put_text(packet, at, 1, text);
    at = put(packet, at, 4, address, 4);
    snprintf(text, sizeof text, "nas-%ld", number % NASES);
    at = put_text(packet, at, 32, text);
    at = put_number(packet, at, 61, 19);
    at = put_number(packet, at, 8, 0x0a800001);
    snprintf(text, sizeof text, "02-0%c-%02lX-%02lX-%02lX-%02lX", device == 'a' ? 'A' : 'B', number >> 24 & 255, number >> 16 & 255,
             number >> 8 & 255, number & 255);
    at = put_text(packet, at, 31, text);
    at = put_text(packet, at, 30, "00-10-A4-23-19-C0:campus");
    at = put_text(packet, at, 77, "CONNECT 54Mbps 802.11a");
    at = put_number(packet, at, 45, 1);
    at = put_number(packet, at, 55, (uint32_t)now_s(CLOCK_REALTIME));
    if (status != START) {
        at = put_number(packet, at, 46, 60);
        at = put_number(packet, at, 42, 1000000);
        at = put_number(packet, at, 43, 9000000);
        at = put_number(packet, at, 52, 0);
        at = put_number(packet, at, 53, 1);
    }
    if (status == STOP) at = put_number(packet, at, 49, 6);
    nas->count = (nas->count + 1) % (SOCKETS * IDENTIFIERS);
    struct request *request = &nas->sent[nas->count];
    sign_request(packet, ACCOUNTING_REQUEST, nas->count / SOCKETS, at, accounting_secret);
    if (request->is_awaited) given_up++;
    memcpy(request->authenticator, packet + 4, 16);
    request->is_awaited = 1, request->breach = status == START && device == 'b' ? number : -1;
    unanswered++;
    if (request->breach >= 0) *breach_of(number) = (struct breach){.sent_ns = wall_ns()};
    send(nas->accounting[nas->count % SOCKETS], packet, at, 0);
}

/* ---- what comes ---- */
static ssize_t receive(int fd, uint8_t *packet, struct sockaddr_in *sender, int64_t *taken_ns)
{
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec octets = {packet, PACKET_MAX};
    struct msghdr message = {.msg_name = sender, .msg_namelen = sizeof *sender, .msg_iov = &octets, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
    struct cmsghdr *found = length < 0 ? NULL : CMSG_FIRSTHDR(&message);
    struct timespec taken;
    if (!found) return -1;
    memcpy(&taken, CMSG_DATA(found), sizeof taken);
    *taken_ns = taken.tv_sec * 1000000000LL + taken.tv_nsec;
    return length;
}

static void take_answers(struct nas *nas, int which)
{
    uint8_t answer[PACKET_MAX];
    struct sockaddr_in sender;
    int64_t taken_ns;
    for (ssize_t length; (length = receive(nas->accounting[which], answer, &sender, &taken_ns)) >= 0;) {
        struct request *request = &nas->sent[length < HEADER ? 0 : answer[1] * SOCKETS + which];
        if (!request->is_awaited || !is_believed(answer, length, ACCOUNTING_RESPONSE, request->authenticator, accounting_secret)) {
            not_believed++;
            continue;
        }
        request->is_awaited = 0, unanswered--;
        if (request->breach >= 0) breach_of(request->breach)->answered_ns = taken_ns;
    }
}

static void disconnect(const char *session, int length, int64_t taken_ns)
{
    char digits[9] = "";
    if (length == 9) memcpy(digits, session, 8);
    long number = strtol(digits, NULL, 16);
    if (length != 9 || session[8] != 'b' || !breach_of(number)->sent_ns) {
        false_ones++;
    } else if (breach_of(number)->requested_ns) {
        repeated++;
    } else {
        breach_of(number)->requested_ns = taken_ns;
        say(STOP, number, 'b');
    }
}

static void take_requests(struct nas *nas)
{
    static const uint8_t none[16];
    uint8_t request[PACKET_MAX], answer[HEADER];
    struct sockaddr_in sender;
    int64_t taken_ns;
    for (ssize_t length; (length = receive(nas->disconnect, request, &sender, &taken_ns)) >= 0;) {
        if (!is_believed(request, length, DISCONNECT_REQUEST, none, disconnect_secret)) {
            not_believed++;
            continue;
        }
        answer[0] = DISCONNECT_ACK, answer[1] = request[1], answer[2] = 0, answer[3] = HEADER;
        authenticator_of(answer, HEADER, request + 4, disconnect_secret, answer + 4);
        sendto(nas->disconnect, answer, HEADER, 0, (struct sockaddr *)&sender, sizeof sender);
        for (int at = HEADER; at + 2 <= length && request[at + 1] >= 2 && at + request[at + 1] <= length; at += request[at + 1])
            if (request[at] == ACCT_SESSION_ID) disconnect((char *)request + at + 2, request[at + 1] - 2, taken_ns);
    }
}

/* Take what came, waiting for it so long; 0 when somebody wrote a line. */
static int look(int wait_ms)
{
    struct epoll_event ready[NASES * (SOCKETS + 1) + 1];
    int some = epoll_wait(polled, ready, NASES * (SOCKETS + 1) + 1, wait_ms), is_asked = 0;
    for (int i = 0; i < some; i++) {
        uint32_t nas = ready[i].data.u64 >> 32, which = ready[i].data.u64;
        if (nas == NASES)
            is_asked = 1;
        else if (which < SOCKETS)
            take_answers(&nases[nas], which);
        else
            take_requests(&nases[nas]);
    }
    return !is_asked;
}

/* ---- what is asked of it ---- */
static int all_told(const long *measured, long count)
{
    for (long i = 0; i < count; i++)
        if (!breach_of(measured[i])->requested_ns) return 0;
    return unanswered == 0;
}

static void until_told(const long *measured, long count, double within_s)
{
    double deadline_s = now_s(CLOCK_MONOTONIC) + within_s;
    while (!all_told(measured, count) && now_s(CLOCK_MONOTONIC) < deadline_s) look(10);
}

/* The record of a run, the turn-th of CYCLE: a login, a login that breaches, a logout, and Interims of others. A breach's number, or -1. */
static long send_record(long person, int turn)
{
    static const int agos[CYCLE - 3] = {60, 110, 160, 210, 260, 310, 360};
    if (turn == 1 && person >= BREACH_AFTER) {
        say(START, persons_before + person - BREACH_AFTER, 'b');
        return persons_before + person - BREACH_AFTER;
    }
    long ago = turn >= 3 ? agos[turn - 3] : 0;
    if (turn == STOP_TURN && person >= STOP_AFTER)
        say(STOP, persons_before + person - STOP_AFTER, 'a');
    else
        say(turn ? INTERIM : START, persons_before + person - (person >= ago ? ago : 0), 'a');
    return -1;
}

static void tell(const long *measured, long count)
{
    for (long i = 0; i < count; i++) {
        const struct breach *one = breach_of(measured[i]);
        printf("%lld %lld %lld\n", (long long)one->sent_ns, (long long)one->answered_ns, (long long)one->requested_ns);
    }
    printf("end %ld %ld %ld %ld %ld\n", unanswered, given_up, not_believed, false_ones, repeated);
    fflush(stdout);
}

static void run(double rate, double warm_s, double measured_s, double straggle_s)
{
    long first = rate * warm_s + 0.5, records = rate * (warm_s + measured_s) + 0.5, sent = 0, count = 0;
    long *measured = calloc(records / CYCLE + 2, sizeof *measured);
    double began_s = now_s(CLOCK_MONOTONIC);
    if (!measured || records < 1) exit(1);
    while (sent < records) {
        long due = (now_s(CLOCK_MONOTONIC) - began_s) * rate + 1;
        for (int burst = 0; sent < due && sent < records && burst < BURST; burst++, sent++) {
            long breach = send_record(sent / CYCLE, sent % CYCLE);
            if (breach >= 0 && sent >= first) measured[count++] = breach;
        }
        look(sent < due ? 0 : 1);
    }
    until_told(measured, count, straggle_s);
    long last = (records - 1) / CYCLE, turn = (records - 1) % CYCLE, left = last - STOP_AFTER + (turn >= STOP_TURN);
    for (long person = left > 0 ? left : 0; person <= last; person++) {
        say(STOP, persons_before + person, 'a'); /* or it would be found dead in a later run, rightly, and told to go */
        if (person % BURST == 0) look(1);
    }
    until_told(NULL, 0, straggle_s);
    persons_before += last + 1;
    tell(measured, count);
    free(measured);
}

static void one(double within_s)
{
    long number = persons_before++;
    say(START, number, 'a');
    say(START, number, 'b');
    until_told(&number, 1, within_s);
    tell(&number, 1);
}

static int bound(const struct sockaddr_in *own, const struct sockaddr_in *to, uint64_t named)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), yes = 1, size = 4 << 20;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = named};
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(fd, (const struct sockaddr *)own, sizeof *own) || (to && connect(fd, (const struct sockaddr *)to, sizeof *to)) ||
        epoll_ctl(polled, EPOLL_CTL_ADD, fd, &event)) {
        perror("socket");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 4 || strlen(argv[2]) > SECRET_MAX || strlen(argv[3]) > SECRET_MAX) {
        return fprintf(stderr, "usage: %s PORT ACCOUNTING_SECRET DISCONNECT_SECRET\n", argv[0]), 2;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event asked = {.events = EPOLLIN, .data.u64 = (uint64_t)NASES << 32};
    accounting_secret = argv[2], disconnect_secret = argv[3];
    polled = epoll_create1(0);
    printf("listening");
    for (uint64_t n = 0; n < NASES; n++) {
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000101 + n)};
        socklen_t length = sizeof own;
        for (uint64_t which = 0; which < SOCKETS; which++) nases[n].accounting[which] = bound(&own, &to, n << 32 | which);
        nases[n].disconnect = bound(&own, NULL, n << 32 | SOCKETS);
        getsockname(nases[n].disconnect, (struct sockaddr *)&own, &length);
        printf(" %d", ntohs(own.sin_port));
    }
    printf("\n");
    fflush(stdout);
    setvbuf(stdin, NULL, _IONBF, 0); /* or a line that was read ahead would not be seen by epoll */
    if (epoll_ctl(polled, EPOLL_CTL_ADD, 0, &asked)) return perror("epoll"), 1;
    for (char line[256];;) {
        double a, b, c, d;
        if (look(-1)) continue;
        if (!fgets(line, sizeof line, stdin)) return 0;
        if (sscanf(line, "run %lf %lf %lf %lf", &a, &b, &c, &d) == 4)
            run(a, b, c, d);
        else if (sscanf(line, "one %lf", &a) == 1)
            one(a);
        else
            return fprintf(stderr, "what is %s", line), 2;
    }
}
