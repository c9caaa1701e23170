/* Load on an accounting port, each answer's authenticator checked (RFC 2866 section 3).
 *
 *   cc -O2 -o load bench/load.c && ./load 127.0.0.1 1813 SECRET PACKETS WINDOW USERS [SECONDS [RATE]]
 *
 * Closed loop (no RATE): WINDOW requests are outstanding, each answer sends the next; what has no answer after 2 s is sent again, and when
 * no answer at all has come for GIVE_UP_S, it gives up. Open loop (RATE a second): requests leave when they are due, whatever was answered;
 * none is sent again, and when WINDOW are outstanding the oldest is given up. Latency counts from the moment at which a request was due, so
 * that a late generator does not flatter the server. It ends after PACKETS or SECONDS; an open loop then waits STRAGGLE_S for the last.
 *
 * Users log in, report and log out: packet n is the (n / USERS)-th of user n % USERS: Start, three Interims, Stop, then a new session.
 * One JSON object goes to standard output: packets (answered), sent, seconds, packets_s, latency percentiles in milliseconds (by histogram:
 * within 1.1 %), histogram (pairs of a bucket's upper end in milliseconds and its count), each_second (answers in each second from the
 * start), resent, bad (answers that were not believed), unanswered (given up), cpu_s (of the generator). Exit status 1 if any was bad, or
 * unanswered in a closed loop.
 */
#include <arpa/inet.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "radius.h"

#define GIVE_UP_S 10
#define STRAGGLE_S 2
#define RESEND_S 2
#define A_SOCKET 64        /* slots that share a socket; an Identifier is a slot and two bits of its generation */
#define PER_OCTAVE 64      /* buckets of the histogram */
#define OCTAVES 28         /* from 1 us to 268 s */
#define SHOWN_PER_OCTAVE 8 /* buckets that are printed */
#define TIMELINE_S 3600
#define BURST 1024 /* requests of an open loop between two looks at the answers, however late it is */

/* ---- one outstanding request ---- */
struct slot {
    uint8_t packet[512];
    int length; /* 0: the slot is free */
    int generation;
    double due_s, sent_s;
};

static const char *secret;
static long users;
static double started_wall_s;

static void build(struct slot *slot, int identifier, long number)
{
    static const int statuses[5] = {1, 3, 3, 3, 2};
    long user = number % users, turn = number / users;
    int status = statuses[turn % 5], at = HEADER;
    uint8_t *p = slot->packet;
    char text[64];
    at = put_number(p, at, 40, status);
    snprintf(text, sizeof text, "%08lx-%08lx-%x", user, turn / 5, (unsigned)started_wall_s);
    at = put_text(p, at, 44, text);
    snprintf(text, sizeof text, "user%ld@example.net", user);
    at = put_text(p, at, 1, text);
    at = put_number(p, at, 4, 0x0a000001);
    at = put_text(p, at, 32, "ap-12");
    at = put_number(p, at, 5, user % 65536);
    at = put_number(p, at, 61, 19);
    at = put_number(p, at, 8, 0x0a800000 + user);
    snprintf(text, sizeof text, "02-00-%02lX-%02lX-%02lX-%02lX", user >> 24 & 255, user >> 16 & 255, user >> 8 & 255, user & 255);
    at = put_text(p, at, 31, text);
    at = put_text(p, at, 30, "00-10-A4-23-19-C0:campus");
    at = put_text(p, at, 77, "CONNECT 54Mbps 802.11a");
    at = put_number(p, at, 45, 1);
    at = put_number(p, at, 41, 0);
    at = put_number(p, at, 55, (uint32_t)now_s(CLOCK_REALTIME));
    at = put(p, at, 25, "\x80\x01\x02\x03\x04\x05\x06\x07", 8);
    if (status != 1) {
        uint32_t step = turn % 5;
        at = put_number(p, at, 46, 10 * step); /* no longer than the session has lasted, by a tolerance of a minute: else it is not believed */
        at = put_number(p, at, 42, 1000000 * step);
        at = put_number(p, at, 43, 9000000 * step);
        at = put_number(p, at, 52, 0);
        at = put_number(p, at, 53, step);
        at = put_number(p, at, 47, 10000 * step);
        at = put_number(p, at, 48, 60000 * step);
    }
    if (status == 2) at = put_number(p, at, 49, 1);
    sign_request(p, 4, identifier, at, secret);
    slot->length = at;
}

/* ---- what is outstanding, and what came of it ---- */
static struct slot *slots;
static int *sockets;
static long window, count_of_sockets, sent, answered, resent, bad, given_up, outstanding;
static long histogram[OCTAVES * PER_OCTAVE], each_second[TIMELINE_S];
static double start_s, heard_s, longest_ms;

static void count_answer(double latency_s, double now)
{
    double us = latency_s * 1e6;
    long bucket = us <= 1 ? 0 : (long)(log2(us) * PER_OCTAVE), second = (long)(now - start_s);
    histogram[bucket < OCTAVES * PER_OCTAVE ? bucket : OCTAVES * PER_OCTAVE - 1]++;
    each_second[second < TIMELINE_S ? second : TIMELINE_S - 1]++;
    if (latency_s * 1e3 > longest_ms) longest_ms = latency_s * 1e3;
}

static double bucket_ms(long bucket) { return exp2((bucket + 1.0) / PER_OCTAVE) / 1e3; }

static double percentile_ms(double share)
{
    long wanted = (long)(answered * share), seen = 0;
    for (long bucket = 0; bucket < OCTAVES * PER_OCTAVE; bucket++)
        if ((seen += histogram[bucket]) > wanted) return bucket_ms(bucket) < longest_ms ? bucket_ms(bucket) : longest_ms;
    return longest_ms;
}

/* Slot w is Identifier w / sockets + 64 * generation of socket w % sockets: a late answer never fits a new request. */
static void send_next(long w, double due_s)
{
    slots[w].generation = (slots[w].generation + 1) & 3;
    build(&slots[w], w / count_of_sockets + A_SOCKET * slots[w].generation, sent++);
    slots[w].sent_s = slots[w].due_s = due_s;
    send(sockets[w % count_of_sockets], slots[w].packet, slots[w].length, 0);
    outstanding++;
}

static void send_again(double now)
{
    for (long w = 0; w < window; w++)
        if (slots[w].length && now - slots[w].sent_s > RESEND_S) {
            resent++, slots[w].sent_s = now;
            send(sockets[w % count_of_sockets], slots[w].packet, slots[w].length, 0);
        }
}

/* Take one answer of a socket; the slot that is free now, -1 if it freed none, -2 if the socket holds nothing. */
static long take(long which)
{
    uint8_t answer[PACKET_MAX];
    ssize_t length = recv(sockets[which], answer, sizeof answer, 0);
    if (length < 0) return -2; /* nothing there, or the port is closed (ECONNREFUSED): the same to a NAS */
    if (length < 20) return bad++, -1;
    long w = (long)(answer[1] % A_SOCKET) * count_of_sockets + which;
    if (w >= window || !slots[w].length || slots[w].packet[1] != answer[1]) return -1; /* late, and answered or given up before */
    if (!is_believed(answer, length, 5, slots[w].packet + 4, secret)) return bad++, -1;
    heard_s = now_s(CLOCK_MONOTONIC);
    count_answer(heard_s - slots[w].due_s, heard_s);
    slots[w].length = 0;
    answered++, outstanding--;
    return w;
}

static void open_sockets(const struct sockaddr_in *to, int polled)
{
    for (long i = 0; i < count_of_sockets; i++) {
        int size = 4 << 20;
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        if (connect(sockets[i], (const struct sockaddr *)to, sizeof *to) || epoll_ctl(polled, EPOLL_CTL_ADD, sockets[i], &event)) {
            perror("socket");
            exit(1);
        }
    }
}

static void run(int polled, long packets, double limit_s, double rate)
{
    struct epoll_event ready[256];
    double checked_s = start_s, now = start_s;
    for (long w = 0; !rate && w < window && sent < packets; w++) send_next(w, now_s(CLOCK_MONOTONIC));
    for (long next = 0;;) {
        double due = (now - start_s) * rate; /* open loop: what should have left by now */
        int is_sending = sent < packets && now - start_s < limit_s;
        for (int burst = 0; rate && is_sending && sent < due && sent < packets && burst < BURST; burst++, next = (next + 1) % window) {
            if (slots[next].length) given_up++, outstanding--;
            send_next(next, start_s + sent / rate);
        }
        if (!is_sending && (!outstanding || (rate && now - start_s > limit_s + STRAGGLE_S))) break;
        int some = epoll_wait(polled, ready, 256, rate ? 1 : 100);
        now = now_s(CLOCK_MONOTONIC);
        for (int i = 0; i < some; i++)
            for (long w; (w = take(ready[i].data.u64)) != -2;)
                if (w >= 0 && !rate && sent < packets && heard_s - start_s < limit_s) send_next(w, heard_s);
        if (rate || now - checked_s < 0.5) continue;
        checked_s = now;
        if (now - heard_s > GIVE_UP_S) break;
        send_again(now);
    }
}

static void tell(double took_s)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"packets\": %ld, \"sent\": %ld, \"seconds\": %.3f, \"packets_s\": %.0f, ", answered, sent, took_s, took_s > 0 ? answered / took_s : 0);
    printf("\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f, ", percentile_ms(0.5), percentile_ms(0.9),
           percentile_ms(0.99), percentile_ms(0.999), longest_ms);
    printf("\"resent\": %ld, \"bad\": %ld, \"unanswered\": %ld, \"cpu_s\": %.3f, \"histogram\": [", resent, bad, given_up + outstanding,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    const char *comma = "";
    for (long bucket = 0; bucket < OCTAVES * PER_OCTAVE; bucket += PER_OCTAVE / SHOWN_PER_OCTAVE) {
        long some = 0;
        for (int i = 0; i < PER_OCTAVE / SHOWN_PER_OCTAVE; i++) some += histogram[bucket + i];
        if (some) printf("%s[%.4f, %ld]", comma, bucket_ms(bucket + PER_OCTAVE / SHOWN_PER_OCTAVE - 1), some), comma = ", ";
    }
    printf("], \"each_second\": [");
    for (long second = 0; second <= (long)(heard_s - start_s) && second < TIMELINE_S; second++) printf("%s%ld", second ? ", " : "", each_second[second]);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    if (argc < 7 || strlen(argv[3]) > SECRET_MAX) {
        fprintf(stderr, "usage: %s ADDRESS PORT SECRET PACKETS WINDOW USERS [SECONDS [RATE]]\n", argv[0]);
        return 2;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
    secret = argv[3], users = atol(argv[6]);
    long packets = atol(argv[4]);
    double limit_s = argc > 7 ? atof(argv[7]) : 1e9, rate = argc > 8 ? atof(argv[8]) : 0;
    window = atol(argv[5]);
    count_of_sockets = (window + A_SOCKET - 1) / A_SOCKET; /* few identifiers a socket: several source ports let SO_REUSEPORT spread them */
    slots = calloc(window, sizeof *slots);
    sockets = calloc(count_of_sockets, sizeof *sockets);
    int polled = epoll_create1(0);
    open_sockets(&to, polled);
    started_wall_s = now_s(CLOCK_REALTIME);
    start_s = heard_s = now_s(CLOCK_MONOTONIC);
    run(polled, packets, limit_s, rate);
    if (!answered && !rate) return fprintf(stderr, "nothing was answered; %ld answers were not believed\n", bad), 1;
    tell(rate ? fmin(limit_s, now_s(CLOCK_MONOTONIC) - start_s) : heard_s - start_s);
    return bad != 0 || (!rate && outstanding != 0);
}
