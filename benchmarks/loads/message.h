/* SPDX-License-Identifier: MIT
 *
 * The message of the loads that want an echo: bytes of which the first tell the connection and the turn, so that a
 * message that is lost, repeated or another connection's is found when it is compared.
 */
#ifndef CYN_BENCHMARKS_MESSAGE_H
#define CYN_BENCHMARKS_MESSAGE_H

#include <stdint.h>
#include <string.h>

enum {
    SIZE_MAX_BYTES = 65536,
    STAMP = 8 /* bytes that tell the connection and the turn */
};

static char message[SIZE_MAX_BYTES], echoed[SIZE_MAX_BYTES + 1];

static void fill_message(void) {
    for (int i = 0; i < SIZE_MAX_BYTES; i++)
        message[i] = (char)(i * 31 + i / 256);
}

/* Makes `message` the one of this connection in this turn. */
static void stamp_message(uint32_t connection, uint32_t turn, int size) {
    uint32_t words[2] = {connection, turn};

    memcpy(message, words, (size_t)(size < STAMP ? size : STAMP));
}

#endif
