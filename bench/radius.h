/* What the programs of the bench that speak RADIUS have in common: packets of at most PACKET_MAX octets (RFC 2865 section 3). */
#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "md5.h"

#define PACKET_MAX 4096
#define HEADER 20
#define SECRET_MAX 200

static inline double now_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Append an attribute; where the next one goes. */
static inline int put(uint8_t *packet, int at, int type, const void *value, size_t length)
{
    packet[at] = type;
    packet[at + 1] = length + 2;
    memcpy(packet + at + 2, value, length);
    return at + 2 + length;
}

static inline int put_number(uint8_t *packet, int at, int type, uint32_t number)
{
    uint32_t octets = htonl(number);
    return put(packet, at, type, &octets, 4);
}

static inline int put_text(uint8_t *packet, int at, int type, const char *text)
{
    return put(packet, at, type, text, strlen(text));
}

/* MD5 over a packet with other octets where its authenticator is, and the secret (RFC 2866 section 3, RFC 5176 section 2.3). */
static inline void authenticator_of(const uint8_t *packet, int length, const uint8_t authenticator[16], const char *secret, uint8_t digest[16])
{
    uint8_t keyed[PACKET_MAX + SECRET_MAX];
    size_t secret_length = strlen(secret);
    memcpy(keyed, packet, length);
    memcpy(keyed + 4, authenticator, 16);
    memcpy(keyed + length, secret, secret_length);
    md5(keyed, length + secret_length, digest);
}

/* Write the header of a request whose attributes end at `length`. */
static inline void sign_request(uint8_t *packet, int code, int identifier, int length, const char *secret)
{
    static const uint8_t none[16];
    packet[0] = code, packet[1] = identifier, packet[2] = length >> 8, packet[3] = length & 255;
    authenticator_of(packet, length, none, secret, packet + 4);
}

/* Whether a packet of this code holds as many octets as it says, and its authenticator is made from `authenticator` and the secret. */
static inline int is_believed(const uint8_t *packet, ssize_t length, int code, const uint8_t authenticator[16], const char *secret)
{
    uint8_t digest[16];
    if (length < HEADER || length > PACKET_MAX || packet[0] != code || (packet[2] << 8 | packet[3]) != length) return 0;
    authenticator_of(packet, length, authenticator, secret, digest);
    return memcmp(digest, packet + 4, 16) == 0;
}
