/* src/wire/http2_huffman.c - HPACK's Huffman code: eleven bits at a time in, one symbol at a time out.
 *
 * Eleven bits hold two of the frequent symbols (5 or 6 bits each), so one look-up in a table of
 * 8 KiB mostly gives two. Longer codes are rare; they are found by their length, as in any canonical
 * code. The tables are made from the 257 lengths when the program starts. */
#include "wire/http2_hpack.h"

#include <endian.h>
#include <string.h>

#define SYMBOLS 257
#define END_OF_STRING 256
#define BITS_MAX 30
#define QUICK_BITS 11

static uint32_t codes[SYMBOLS];
static uint8_t lengths[SYMBOLS];

static struct {
    uint8_t symbol[2];
    uint8_t bits;  /* of both; 0: a longer code */
    uint8_t first; /* of the first */
} quick[1 << QUICK_BITS];

/* Of each length: the code behind its last one, aligned left in 32 bits, and what to add to a code
 * to find its symbol in by_code. */
static uint64_t behind[BITS_MAX + 1];
static uint32_t base[BITS_MAX + 1];
static uint16_t by_code[SYMBOLS];

static void fill_quick(void)
{
    static const unsigned mask = (1U << QUICK_BITS) - 1;
    for (unsigned s = 0; s < SYMBOLS; s++) {
        if (lengths[s] <= QUICK_BITS) {
            const unsigned shift = QUICK_BITS - lengths[s];
            for (unsigned i = codes[s] << shift; i < (codes[s] + 1) << shift; i++) {
                quick[i].symbol[0] = (uint8_t)s;
                quick[i].first = quick[i].bits = lengths[s];
            }
        }
    }
    for (unsigned i = 0; i <= mask; i++) {
        const unsigned next = (i << quick[i].first) & mask;
        if (quick[i].first > 0 && quick[next].first > 0 &&
            quick[i].first + quick[next].first <= QUICK_BITS) {
            quick[i].symbol[1] = quick[next].symbol[0];
            quick[i].bits = (uint8_t)(quick[i].first + quick[next].first);
        }
    }
}

__attribute__((constructor)) static void fill_tables(void)
{
#define VV_HUFFMAN_RUN(from, count, bits) memset(lengths + (from), bits, count);
#include "wire/http2_hpack.def"
#undef VV_HUFFMAN_RUN
    uint32_t code = 0, at = 0;
    for (unsigned bits = 1; bits <= BITS_MAX; bits++) {
        code <<= 1;
        base[bits] = at - code;
        for (unsigned s = 0; s < SYMBOLS; s++) {
            if (lengths[s] == bits) {
                by_code[at++] = (uint16_t)s;
                codes[s] = code++;
            }
        }
        behind[bits] = (uint64_t)code << (32 - bits);
    }
    VV_ASSERT(behind[BITS_MAX] == UINT64_C(1) << 32); /* no code is left over */
    fill_quick();
}

/* The symbol that begins `acc`, of more than QUICK_BITS bits. */
static unsigned long_symbol(uint64_t acc, unsigned *ret_bits)
{
    const uint32_t top = (uint32_t)(acc >> 32);
    unsigned bits = QUICK_BITS + 1;
    while (top >= behind[bits]) {
        bits++;
    }
    *ret_bits = bits;
    return by_code[base[bits] + (top >> (32 - bits))];
}

/* Fills acc behind its first `have` bits; returns how many it has then: 56 or more, or all. */
static unsigned refill(uint64_t *acc, unsigned have, const uint8_t **p, const uint8_t *end)
{
    if (VV_LIKELY(end - *p >= 8)) {
        uint64_t word;
        memcpy(&word, *p, sizeof word);
        *acc |= be64toh(word) >> have;
        const unsigned bytes = (63 - have) / 8;
        *p += bytes;
        have += bytes * 8;
        /* What came of a byte that was not taken is there again next time. */
        *acc &= ~UINT64_C(0) << (64 - have);
        return have;
    }
    while (have <= 56 && *p < end) {
        *acc |= (uint64_t) * (*p)++ << (56 - have);
        have += 8;
    }
    return have;
}

VV_HOT size_t vv_huffman_decode(char *to, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    const char *began = to;
    uint64_t acc = 0;
    unsigned have = 0; /* bits in acc, from the top */
    for (;;) {
        if (have < BITS_MAX) {
            have = refill(&acc, have, &p, end);
        }
        const unsigned i = (unsigned)(acc >> (64 - QUICK_BITS));
        unsigned bits = quick[i].bits;
        if (VV_LIKELY(bits != 0 && bits <= have)) {
            to[0] = (char)quick[i].symbol[0];
            to[1] = (char)quick[i].symbol[1];
            to += 1 + (bits > quick[i].first);
        } else if (bits != 0) { /* the end is near: one, or what is left is padding */
            bits = quick[i].first;
            if (bits > have) {
                break;
            }
            *to++ = (char)quick[i].symbol[0];
        } else {
            const unsigned symbol = long_symbol(acc, &bits);
            if (bits > have) {
                break;
            }
            if (symbol == END_OF_STRING) {
                return SIZE_MAX;
            }
            *to++ = (char)symbol;
        }
        acc <<= bits;
        have -= bits;
    }
    /* Padding is less than a byte, of ones. */
    const bool fine = have < 8 && (have == 0 || acc >> (64 - have) == (1U << have) - 1);
    return fine ? (size_t)(to - began) : SIZE_MAX;
}

size_t vv_huffman_bytes(struct vv_str s)
{
    size_t bits = 0;
    for (size_t i = 0; i < s.n; i++) {
        bits += lengths[(uint8_t)s.p[i]];
    }
    return (bits + 7) / 8;
}

uint8_t *vv_huffman_encode(uint8_t *to, struct vv_str s)
{
    uint64_t acc = 0;
    unsigned have = 0;
    for (size_t i = 0; i < s.n; i++) {
        const uint8_t c = (uint8_t)s.p[i];
        acc = acc << lengths[c] | codes[c];
        have += lengths[c];
        if (have >= 32) { /* a code has 30 bits at most */
            have -= 32;
            const uint32_t word = htobe32((uint32_t)(acc >> have));
            memcpy(to, &word, sizeof word);
            to += sizeof word;
        }
    }
    while (have >= 8) {
        have -= 8;
        *to++ = (uint8_t)(acc >> have);
    }
    if (have > 0) {
        *to++ = (uint8_t)(acc << (8 - have) | 0xffU >> have);
    }
    return to;
}
