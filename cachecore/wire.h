/*
 * What goes between the node plugin and its fetcher process: orders one way (start, cancel, renew), reports the other (progress,
 * done, failed), one protobuf message a packet of a SOCK_SEQPACKET pair (proto/fetcher.proto). Packing and parsing are pure. Neither
 * side trusts the other's bytes: the fetcher talks to strangers, so everything that it says is bounded and checked again.
 *
 * A fill's result can be large (a million files), so it travels in sealed memory: for each input an entry, then its snapshot
 * list as text (cachecore/snapshot.h).
 */
#pragma once

#include "base/secret.h"
#include "cachecore/fill.h"

#define WIRE_VERSION 1u
#define WIRE_PACKET_MAX ((size_t)256 << 10)
#define WIRE_RESULT_MAX ((uint64_t)1 << 30)
#define WIRE_ENTRY_MAX ((uint32_t)64 << 10)
#define WIRE_SECRETS_MAX 128u /* keys */
#define WIRE_TOKENS_MAX 16u   /* audiences */
#define WIRE_FACT_MAX 2048u   /* bytes */

enum wire_order_kind { WIRE_START = 1, WIRE_CANCEL, WIRE_RENEW /* secrets and tokens of a job that runs */ };

struct wire_order {
    enum wire_order_kind kind;
    uint64_t job; /* not 0 */
    /* WIRE_START */
    const char *inputs;      /* NULL: inputs_from is the list */
    const char *inputs_from; /* NULL: inputs is the list; exactly one is given */
    const char *volume;      /* hex digest of the volume id */
    const char *node;
    bool has_local;     /* a second descriptor: the node-local store */
    struct class rules; /* only what sources and the engine look at; the rest are the defaults */
    struct identity_facts facts;
    struct secret_map secrets; /* owned by a parsed order; WIRE_RENEW too */
    struct secret_map tokens;  /* audience to service account token; likewise */
};

/* Appends the packet to out: ERR_EXHAUSTED above WIRE_PACKET_MAX or with too many secrets (names the size). It may hold secrets: wire_wipe it. */
int wire_order_pack(const struct wire_order *order, struct str *out, struct err *err);
/* Text is in arena; secrets and tokens are copied (wire_order_deinit wipes them). ERR_CORRUPT on anything wrong. */
int wire_order_parse(struct arena *arena, const void *data, size_t len, struct wire_order *out, struct err *err);
void wire_order_deinit(struct wire_order *order);
/* Overwrites and frees a packet. */
void wire_wipe(struct str *packet);

enum wire_report_kind { WIRE_HELLO = 1, WIRE_PROGRESS, WIRE_DONE, WIRE_FAILED };

struct wire_report {
    enum wire_report_kind kind;
    uint64_t job;          /* 0 for WIRE_HELLO: ready for orders */
    enum fill_stage stage; /* WIRE_PROGRESS; the rest as in struct fill_progress */
    uint64_t bytes_done, bytes_total, bytes_fetched;
    uint32_t inputs;
    uint64_t store_size_bytes, store_free_bytes;
    /* WIRE_DONE: nothing else, but the sealed memory as descriptor */
    struct err failure; /* WIRE_FAILED: never ERR_NONE; printable */
};

void wire_report_pack(const struct wire_report *report, struct str *out);
int wire_report_parse(const void *data, size_t len, struct wire_report *out, struct err *err);

/* Writes the result to sealed memory and returns its descriptor. ERR_EXHAUSTED above WIRE_RESULT_MAX. */
int wire_result_seal(const struct fill_result *result, struct err *err);
/*
 * Reads it back: seals and sizes are checked first, then each list is parsed by snapshot_parse, its id compared, each place
 * checked. At most max_files in all. ERR_CORRUPT says what is wrong. Everything is in arena; fd stays the caller's.
 */
int wire_result_read(int fd, uint64_t max_files, struct arena *arena, struct fill_result *out, struct err *err);
