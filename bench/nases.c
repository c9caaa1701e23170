/* The other side of the kicker: many NASes that acknowledge every Disconnect-Request (RFC 5176 section 2.3).
 *
 *   cc -O2 -o nases bench/nases.c && ./nases PORT SECRET AFTER_MS
 *
 * NAS n is the address 127.1.(n / 256).(n % 256), all of them on one socket that is looked at each LOOK_US: the cores are wanted by what is
 * measured, and to be woken for each datagram would cost its sender more than the datagram. AFTER_MS after its acknowledgement a session has
 * ended: one line for it goes to standard output, the NAS's number and the request's Acct-Session-Id, in one write for all that ended in
 * EVERY_MS. The first line says `listening`. It ends with SIGTERM, or when nobody reads.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "radius.h"

#define AT_ONCE 64 /* datagrams for each call of the system */
#define EVERY_MS 20
#define LOOK_US 1000
#define ACCT_SESSION_ID 44
#define ENDED_MAX 65536 /* sessions whose end is not told yet; what comes on top is acknowledged, and never ends */

static struct {
    double due_ms;
    int nas, length;
    char session[256];
} ended[ENDED_MAX];
static unsigned long first_ended, after_ended;

static void end_later(int nas, const uint8_t *request, int length, double due_ms)
{
    for (int at = HEADER; at + 2 <= length && request[at + 1] >= 2; at += request[at + 1])
        if (request[at] == ACCT_SESSION_ID && at + request[at + 1] <= length && after_ended - first_ended < ENDED_MAX) {
            unsigned long place = after_ended++ % ENDED_MAX;
            ended[place].due_ms = due_ms, ended[place].nas = nas, ended[place].length = request[at + 1] - 2;
            memcpy(ended[place].session, request + at + 2, request[at + 1] - 2);
            return;
        }
}

static int tell(double now)
{
    static char lines[1 << 16];
    size_t length = 0;
    while (first_ended != after_ended && ended[first_ended % ENDED_MAX].due_ms <= now && length < sizeof lines - 300) {
        unsigned long place = first_ended++ % ENDED_MAX;
        length += sprintf(lines + length, "%d %.*s\n", ended[place].nas, ended[place].length, ended[place].session);
    }
    for (size_t told = 0; told < length;) {
        ssize_t written = write(1, lines + told, length - told);
        if (written <= 0) return 0;
        told += written;
    }
    return 1;
}

int main(int argc, char **argv)
{
    static uint8_t requests[AT_ONCE][PACKET_MAX], answers[AT_ONCE][HEADER], controls[AT_ONCE][CMSG_SPACE(sizeof(struct in_pktinfo))];
    static struct sockaddr_in senders[AT_ONCE];
    static struct iovec in[AT_ONCE], out[AT_ONCE];
    static struct mmsghdr messages[AT_ONCE];
    if (argc != 4 || strlen(argv[2]) > SECRET_MAX) return fprintf(stderr, "nases PORT SECRET AFTER_MS\n"), 2;
    const char *secret = argv[2];
    double after_ms = atof(argv[3]), told_ms = 0;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20, yes = 1;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&own, sizeof own)) return perror("bind"), 1;
    if (write(1, "listening\n", 10) != 10) return 1;
    for (;;) {
        double now = now_s(CLOCK_MONOTONIC) * 1e3;
        if (now - told_ms >= EVERY_MS) {
            struct pollfd reader = {1, 0, 0};
            told_ms = now;
            if (poll(&reader, 1, 0) || !tell(now)) return 0;
        }
        for (int i = 0; i < AT_ONCE; i++) {
            in[i] = (struct iovec){requests[i], PACKET_MAX};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &senders[i], .msg_namelen = sizeof senders[i], .msg_iov = &in[i], .msg_iovlen = 1,
                                                  .msg_control = controls[i], .msg_controllen = sizeof controls[i]};
        }
        int got = recvmmsg(fd, messages, AT_ONCE, MSG_DONTWAIT, NULL), answered = 0;
        if (got < AT_ONCE) usleep(LOOK_US); /* before the answers: as long is the way */
        for (int i = 0; i < got; i++) {
            uint8_t *request = requests[i], *answer = answers[i];
            struct cmsghdr *control = CMSG_FIRSTHDR(&messages[i].msg_hdr);
            if (messages[i].msg_len < HEADER || control == NULL) continue;
            struct in_pktinfo *to = (struct in_pktinfo *)CMSG_DATA(control);
            end_later(ntohl(to->ipi_addr.s_addr) & 0xffff, request, messages[i].msg_len, now + after_ms);
            answer[0] = request[0] + 1, answer[1] = request[1], answer[2] = 0, answer[3] = HEADER;
            authenticator_of(answer, HEADER, request + 4, secret, answer + 4);
            to->ipi_spec_dst = to->ipi_addr, to->ipi_ifindex = 0; /* it answers from the address that was asked */
            out[answered] = (struct iovec){answer, HEADER};
            messages[answered].msg_hdr = messages[i].msg_hdr;
            messages[answered].msg_hdr.msg_iov = &out[answered];
            answered++;
        }
        for (int sent = 0; sent < answered;) {
            int took = sendmmsg(fd, messages + sent, answered - sent, 0);
            sent += took > 0 ? took : 1; /* what cannot be sent is lost on the way */
        }
    }
}
