/* Frames that nghttp2's client would not send: floods, bombs, other protocols. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/csi/support_h2.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void frame(struct str *out, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
    const uint8_t head[9] = {
        (uint8_t)(len >> 16),    (uint8_t)(len >> 8),    (uint8_t)len,    type, flags, (uint8_t)(stream >> 24),
        (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream,
    };
    str_append(out, head, sizeof(head));
    str_append(out, payload, len);
}

/* :method POST, :scheme http, :path /a, content-type application/grpc, as HPACK without its dynamic table. */
static const char small_head[25] = "\x83\x86\x04\2/a\x0f\x10\x10"
                                   "application/grpc";

static void start_frames(struct str *out)
{
    str_append(out, preface, sizeof(preface) - 1);
    frame(out, NGHTTP2_SETTINGS, 0, 0, "", 0);
}

static void add_continuations(struct str *out)
{
    frame(out, NGHTTP2_HEADERS, 0, 1, small_head, sizeof(small_head));
    for (int i = 0; i < 100000; i++)
        frame(out, NGHTTP2_CONTINUATION, 0, 1, "", 0);
}

static void add_resets(struct str *out)
{
    for (uint32_t i = 0; i < 10000; i++) {
        frame(out, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, small_head, sizeof(small_head));
        frame(out, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\10", 4);
    }
}

static void add_settings(struct str *out)
{
    for (int i = 0; i < 10000; i++)
        frame(out, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\1\0", 6);
}

static void add_pings(struct str *out)
{
    for (int i = 0; i < 10000; i++)
        frame(out, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void add_empty_data(struct str *out)
{
    frame(out, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, small_head, sizeof(small_head));
    for (int i = 0; i < 10000; i++)
        frame(out, NGHTTP2_DATA, 0, 1, "", 0);
}

/* A table entry of 4,000 bytes, named 100,000 times in one byte each. */
static void add_hpack_bomb(struct str *out)
{
    _cleanup_(str_deinitp) struct str block = STR_INIT;
    str_append(&block, small_head, sizeof(small_head)); /* 25 bytes */
    str_append(&block, "\x40\1x\x7f\xa1\x1e", 6);       /* x: 4,000 bytes, to the table */
    for (int i = 0; i < 4000; i++)
        str_append_char(&block, 'y');
    for (int i = 0; i < 12000; i++)
        str_append_char(&block, (char)0xbe);
    frame(out, NGHTTP2_HEADERS, 0, 1, block.data, block.len);
    frame(out, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, block.data + 4031, 12000);
}

static void add_http1(struct str *out)
{
    str_clear(out);
    str_append_text(out, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void add_garbage(struct str *out)
{
    str_clear(out);
    str_append(out, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and what follows in a TLS hello", 40);
}

/* A name in upper case, which nghttp2's client would not send. */
static void test_upper_case(void **state)
{
    (void)state;
    static const uint8_t head[] = {0x83, 0x86, 0x04, 0x02, '/', 'a', 0x00, 0x01, 'X', 0x01, 'x'};
    struct h2_budget budget = {.left = PEER_BUDGET};
    _cleanup_(str_deinitp) struct str bytes = STR_INIT;
    _cleanup_(h2_freep) struct h2 *h2 = h2_new(&budget, 0);
    struct err err = ERR_INIT;
    const uint8_t *data;
    start_frames(&bytes);
    frame(&bytes, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, head, sizeof(head));
    assert_int_equal(h2_receive(h2, (const uint8_t *)bytes.data, bytes.len, 0, &err), 0);
    size_t len = h2_output(h2, &data);
    assert_true(len >= 13);
    assert_memory_equal(data + len - 13, "\0\0\4\3\0\0\0\0\1\0\0\0\1", 13); /* RST_STREAM, PROTOCOL_ERROR */
}

/* A client that minds no limit: what is over it is refused, and the rest is not disturbed. */
static void test_streams_over_the_limit(void **state)
{
    (void)state;
    struct h2_budget budget = {.left = PEER_BUDGET};
    _cleanup_(str_deinitp) struct str bytes = STR_INIT;
    _cleanup_(h2_freep) struct h2 *h2 = h2_new(&budget, 0);
    struct err err = ERR_INIT;
    const uint8_t *data;
    start_frames(&bytes);
    for (uint32_t i = 0; i < H2_STREAMS_MAX + 1; i++)
        frame(&bytes, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, small_head, sizeof(small_head));
    frame(&bytes, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "\0\0\0\0\1x", 6);
    assert_int_equal(h2_receive(h2, (const uint8_t *)bytes.data, bytes.len, 0, &err), 0);
    size_t len = h2_output(h2, &data);
    assert_true(len >= 13);
    assert_memory_equal(data + len - 13, "\0\0\4\3\0\0\0\1\1\0\0\0\7", 13); /* RST_STREAM, REFUSED_STREAM */
    struct h2_event event;
    h2_next(h2, &event);
    assert_int_equal(event.kind, H2_REQUEST);
    assert_int_equal(event.stream, 1);
    h2_event_deinit(&event);
}

static const struct flood {
    void (*add)(struct str *out);
    enum err_code code; /* ERR_NONE: later nghttp2 counts these itself, with a code of its own */
} floods[] = {
    {add_continuations, ERR_NONE}, {add_resets, ERR_EXHAUSTED},     {add_settings, ERR_EXHAUSTED},
    {add_pings, ERR_EXHAUSTED},    {add_empty_data, ERR_EXHAUSTED}, {add_hpack_bomb, ERR_EXHAUSTED},
    {add_http1, ERR_CORRUPT},      {add_garbage, ERR_CORRUPT},
};

/* row 19: the connection is closed, and what it made us write is small. */
static void test_floods(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
        struct h2_budget budget = {.left = PEER_BUDGET};
        _cleanup_(str_deinitp) struct str bytes = STR_INIT;
        struct err err = ERR_INIT;
        struct h2 *h2 = h2_new(&budget, 0);
        start_frames(&bytes);
        floods[i].add(&bytes);
        int failed = 0;
        size_t written = 0;
        for (size_t at = 0; at < bytes.len && !failed; at += 1000) {
            const uint8_t *data;
            size_t part = bytes.len - at < 1000 ? bytes.len - at : 1000;
            failed = h2_receive(h2, (const uint8_t *)bytes.data + at, part, 0, &err);
            size_t len = h2_output(h2, &data);
            h2_sent(h2, len);
            written += len;
        }
        assert_int_equal(failed, -1);
        if (floods[i].code != ERR_NONE)
            assert_int_equal(err.code, floods[i].code);
        assert_true(written < 64 * 1024);
        h2_free(h2);
        assert_int_equal(budget.left, PEER_BUDGET);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upper_case),
        cmocka_unit_test(test_streams_over_the_limit),
        cmocka_unit_test(test_floods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
