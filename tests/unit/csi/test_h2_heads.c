/* csi/h2_head.h through a connection: which requests are served, answered with an error, or reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "csi/h2_field.h"
#include "tests/unit/csi/support_h2.h"

#define NO_RESET (-1)

static const struct head_case {
    const char *name;  /* of the field that is replaced, or added if it is new */
    const char *value; /* NULL: left out */
    const char *http;
    const char *status; /* "": served, or reset */
    int reset;
} head_cases[] = {
    /* row 19: served */
    {":authority", "/var/lib/kubelet/plugins/csi.sharedcache.io/csi.sock", "", "", NO_RESET},
    {":authority", "%2Frun%2Fcsi.sock", "", "", NO_RESET},
    {":authority", "", "", "", NO_RESET},
    {":authority", NULL, "", "", NO_RESET},
    {"te", NULL, "", "", NO_RESET},
    {"content-type", "application/grpc+proto", "", "", NO_RESET},
    {"content-type", "application/grpc;charset=x", "", "", NO_RESET},
    {"user-agent", "caf\xc3\xa9 \t", "", "", NO_RESET},
    {"grpc-timeout", "5S", "", "", NO_RESET},
    {"content-length", "10", "", "", NO_RESET},
    /* answered */
    {":method", "GET", "405", "13", NO_RESET},
    {"content-type", "text/plain", "415", "13", NO_RESET},
    {"content-type", "application/grpcish", "415", "13", NO_RESET},
    {"content-type", NULL, "415", "13", NO_RESET},
    {"grpc-timeout", "5 S", "200", "13", NO_RESET},
    {"grpc-timeout", "", "200", "13", NO_RESET},
    /* malformed */
    {":method", NULL, "", "", NGHTTP2_PROTOCOL_ERROR},
    {":scheme", NULL, "", "", NGHTTP2_PROTOCOL_ERROR},
    {":path", NULL, "", "", NGHTTP2_PROTOCOL_ERROR},
    {":path", "", "", "", NGHTTP2_PROTOCOL_ERROR},
    {":path", "a.B/C", "", "", NGHTTP2_PROTOCOL_ERROR},
    {":protocol", "x", "", "", NGHTTP2_PROTOCOL_ERROR},
    {":status", "200", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"te", "gzip", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"connection", "close", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"transfer-encoding", "chunked", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"x y", "x", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"x", "a\nb", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"content-length", "11", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"content-length", "x", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"content-length", "99999999999999999999999", "", "", NGHTTP2_PROTOCOL_ERROR},
};

/* The usual fields with one replaced, left out or (a pseudo-header in front) added. */
static size_t fields_with(const struct head_case *c, nghttp2_nv *out)
{
    size_t count = 0;
    bool replaced = false;
    if (c->name[0] == ':' && c->value && (strcmp(c->name, ":protocol") == 0 || strcmp(c->name, ":status") == 0))
        out[count++] = h2_field(c->name, c->value);
    for (size_t i = 0; i < USUAL_COUNT; i++) {
        bool same = strcmp((const char *)usual(i).name, c->name) == 0;
        replaced |= same;
        if (same && c->value)
            out[count++] = h2_field(c->name, c->value);
        else if (!same)
            out[count++] = usual(i);
    }
    if (!replaced && c->name[0] != ':')
        out[count++] = h2_field(c->name, c->value);
    return count;
}

static void check_head(struct peer *peer, const struct head_case *c)
{
    nghttp2_nv fields[10];
    body_message(peer, "hello", 5);
    int32_t id = request_with(peer, fields, fields_with(c, fields));
    assert_int_equal(pump(peer, 100000), 0);
    const struct seen *seen = seen_of(peer, id);
    bool served = c->status[0] == '\0' && c->reset == NO_RESET;
    if (served)
        serve(peer, id);
    expect_none(peer);
    assert_int_equal(pump(peer, 100000), 0);
    assert_true(seen->closed);
    assert_string_equal(seen->http, served ? "200" : c->http);
    assert_string_equal(seen->status, served ? "0" : c->status);
    assert_int_equal(seen->error_code, c->reset == NO_RESET ? 0 : c->reset);
}

/* row 19 and others: all on one connection, which survives. */
static void test_heads(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    for (size_t i = 0; i < sizeof(head_cases) / sizeof(head_cases[0]); i++)
        check_head(&peer, &head_cases[i]);
    peer_deinit(&peer);
}

static void test_order_of_fields(void **state)
{
    (void)state;
    struct peer peer;
    nghttp2_nv fields[8];
    peer_init(&peer);
    usual_all(fields);
    fields[6] = h2_field(":authority", "again");
    int32_t twice = request_with(&peer, fields, 7);
    nghttp2_nv swapped[6];
    usual_all(swapped);
    swapped[0] = usual(5);
    swapped[5] = usual(0); /* :method behind regular fields */
    int32_t late = request_with(&peer, swapped, 6);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_int_equal(seen_of(&peer, twice)->error_code, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(seen_of(&peer, late)->error_code, NGHTTP2_PROTOCOL_ERROR);
    expect_none(&peer);
    peer_deinit(&peer);
}

/* 20 KiB of headers: answered, not served. */
static void test_large_head(void **state)
{
    (void)state;
    struct peer peer;
    nghttp2_nv fields[16];
    char value[3000];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    peer_init(&peer);
    usual_all(fields);
    for (size_t i = 6; i < 13; i++)
        fields[i] = h2_field("x", value);
    body_message(&peer, "x", 1);
    int32_t id = request_with(&peer, fields, 13);
    assert_int_equal(pump(&peer, 100000), 0);
    expect_none(&peer);
    assert_string_equal(seen_of(&peer, id)->status, "8");
    peer_deinit(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_order_of_fields),
        cmocka_unit_test(test_large_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
