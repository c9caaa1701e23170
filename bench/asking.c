/* Requests to an HTTP server at a steady rate, whatever the answers do.
 *
 *   cc -O2 -o asking bench/asking.c && ./asking SOCKET RATE SECONDS PATH [TOKEN]
 *
 * Over CONNECTIONS connections to a unix socket, one request at a time on each (RFC 9112). The time of a request counts from when it was due,
 * so that a server that stands still is not spared the requests it would have got; all of them are made, however late. With a token it asks
 * `POST PATH` for ever other users, else `GET PATH`. One JSON object goes to standard output: per_second, statuses, quantiles in milliseconds
 * by nearest rank, cpu_s (its own). Who asks in earnest is another machine, and waits for no processor of this one; so it takes what priority
 * it may have. Exit status 1 if a connection ends, or nothing is answered for GIVE_UP_S.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 32
#define USERS 20000
#define GIVE_UP_S 10
#define REQUEST_MAX 1024
#define ANSWER_MAX 65536
#define STATUSES 1000

static struct {
    double due_s;
    int used; /* octets of the answer so far */
    char answer[ANSWER_MAX + 1];
} asked[CONNECTIONS];
static struct pollfd polled[CONNECTIONS];
static int idle[CONNECTIONS], count_of_idle;
static long statuses[STATUSES], answered;
static double *taken_ms;
static const char *path, *token;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *why)
{
    fprintf(stderr, "asking: %s after %ld answers\n", why, answered);
    exit(1);
}

static int request(char *text, long number)
{
    char body[256];
    unsigned user = number % USERS;
    if (!token) return snprintf(text, REQUEST_MAX, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path);
    int length = snprintf(body, sizeof body, "{\"user\":\"user%u\",\"nas\":\"bench\",\"calling_station_id\":\"00-00-00-00-%02x-%02x\"}", user,
                          user >> 8, user & 255);
    return snprintf(text, REQUEST_MAX,
                    "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                    path, token, length, body);
}

static void ask(long number, double due_s)
{
    char text[REQUEST_MAX];
    int which = idle[--count_of_idle], length = request(text, number);
    asked[which].due_s = due_s, asked[which].used = 0;
    if (length >= REQUEST_MAX || send(polled[which].fd, text, length, MSG_NOSIGNAL) != length) fail("a request could not be sent");
}

static void take(int which)
{
    char *answer = asked[which].answer;
    ssize_t some = recv(polled[which].fd, answer + asked[which].used, ANSWER_MAX - asked[which].used, 0);
    if (some <= 0) fail("a connection ended, or an answer is too long");
    asked[which].used += some;
    answer[asked[which].used] = 0;
    const char *body = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "\r\nContent-Length:");
    if (!body) return;
    int status = atoi(answer + strlen("HTTP/1.1 "));
    if (!length || length > body || status < 100 || status >= STATUSES) fail("an answer is not understood");
    if (body + 4 - answer + atol(length + strlen("\r\nContent-Length:")) > asked[which].used) return;
    taken_ms[answered++] = (now_s() - asked[which].due_s) * 1e3;
    statuses[status]++;
    idle[count_of_idle++] = which;
}

static void connect_all(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(name) >= sizeof to.sun_path) fail("the socket's name is too long");
    strcpy(to.sun_path, name);
    for (int which = 0; which < CONNECTIONS; which++) {
        polled[which] = (struct pollfd){.fd = socket(AF_UNIX, SOCK_STREAM, 0), .events = POLLIN};
        if (connect(polled[which].fd, (const struct sockaddr *)&to, sizeof to)) fail("the socket cannot be reached");
        idle[count_of_idle++] = which;
    }
}

static void run(double rate, long wanted, double began_s)
{
    for (long next = 0; answered < wanted;) {
        for (double due_s; next < wanted && count_of_idle && (due_s = began_s + next / rate) <= now_s(); next++) ask(next, due_s);
        double wait_s = next < wanted && count_of_idle ? began_s + next / rate - now_s() : GIVE_UP_S;
        if (wait_s < 0) wait_s = 0;
        struct timespec wait = {.tv_sec = (time_t)wait_s, .tv_nsec = (long)((wait_s - (time_t)wait_s) * 1e9)};
        int some = ppoll(polled, CONNECTIONS, &wait, NULL);
        if (some == 0 && wait_s == GIVE_UP_S) fail("nothing was answered");
        for (int which = 0; some > 0 && which < CONNECTIONS; which++)
            if (polled[which].revents) take(which), some--;
    }
}

static int compare(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

static double quantile_ms(double share) { return taken_ms[(long)(answered * share)]; }

static void tell(double took_s)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    qsort(taken_ms, answered, sizeof *taken_ms, compare);
    printf("{\"per_second\": %.1f, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f, ", answered / took_s,
           quantile_ms(0.5), quantile_ms(0.9), quantile_ms(0.99), quantile_ms(0.999), taken_ms[answered - 1]);
    printf("\"cpu_s\": %.3f, \"statuses\": {",
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    const char *comma = "";
    for (int status = 0; status < STATUSES; status++)
        if (statuses[status]) printf("%s\"%d\": %ld", comma, status, statuses[status]), comma = ", ";
    printf("}}\n");
}

static void take_priority(void)
{
    setpriority(PRIO_PROCESS, 0, -15);
    FILE *group = setsid() > 0 ? fopen("/proc/self/autogroup", "w") : NULL; /* sched(7): groups come before the processes in them */
    if (group) fprintf(group, "-15"), fclose(group);
}

int main(int argc, char **argv)
{
    take_priority();
    if (argc < 5) return fprintf(stderr, "usage: %s SOCKET RATE SECONDS PATH [TOKEN]\n", argv[0]), 2;
    double rate = atof(argv[2]);
    long wanted = (long)(rate * atof(argv[3]) + 0.5);
    path = argv[4], token = argc > 5 ? argv[5] : NULL;
    if (wanted < 1 || !(taken_ms = calloc(wanted, sizeof *taken_ms))) return 2;
    connect_all(argv[1]);
    double began_s = now_s();
    run(rate, wanted, began_s);
    tell(now_s() - began_s);
    return 0;
}
