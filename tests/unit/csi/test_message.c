/* csi/message.h: limits and texts of unpacked messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "csi/message.h"
#include "csi/proto/csi.pb-c.h"

/* row 18: malformed messages are INTERNAL, as grpc-go has it; texts that C cannot hold are refused by name. */
static void test_unpack(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t len;
        enum err_code code;
    } cases[] = {
        {"", 0, ERR_NONE},
        {"\x0a\3vol\x22\4/a/b", 11, ERR_NONE},
        {"\x0a\3vo", 4, ERR_INTERNAL},                                    /* truncated text */
        {"\x0a", 1, ERR_INTERNAL},                                        /* truncated key */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 11, ERR_INTERNAL}, /* absurd length */
        {"\x08\1", 2, ERR_INTERNAL},                                      /* a number where volume_id's text is */
        {"\0\0", 2, ERR_INTERNAL},                                        /* field number 0 */
        {"\x0b", 1, ERR_INTERNAL},                                        /* groups */
        {"\xfa\x3f\2hi", 5, ERR_NONE},                                    /* unknown field, skipped */
        {"\x0a\3v\0l", 5, ERR_INVALID},                                   /* NUL: the rest would be lost */
        {"\x0a\3v\xffl", 5, ERR_INVALID},                                 /* not UTF-8 */
        {"\x42\6\x0a\4k\0ey", 8, ERR_INVALID},                            /* and within a map */
        {"\x42\5\x0a\4key", 7, ERR_INTERNAL},                             /* an entry cut short */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        ProtobufCMessage *message = message_unpack(&csi__v1__node_publish_volume_request__descriptor,
                                                   (const uint8_t *)cases[i].data, cases[i].len, &err);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(message != NULL, cases[i].code == ERR_NONE);
        message_free(message);
    }
}

/* Half a million empty map entries in a mebibyte would take tens of mebibytes. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(str_deinitp) struct str bytes = STR_INIT;
    while (bytes.len < 1024 * 1024)
        str_append(&bytes, "\x42\0", 2);
    assert_null(message_unpack(&csi__v1__node_publish_volume_request__descriptor, (const uint8_t *)bytes.data,
                               bytes.len, &err));
    assert_int_equal(err.code, ERR_EXHAUSTED);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(str_deinitp) struct str bytes = STR_INIT;
    char node[] = "node-1";
    Csi__V1__NodeGetInfoResponse info;
    csi__v1__node_get_info_response__init(&info);
    info.node_id = node;
    info.max_volumes_per_node = 200;
    message_pack(&info.base, &bytes);
    ProtobufCMessage *message =
        message_unpack(&csi__v1__node_get_info_response__descriptor, (const uint8_t *)bytes.data, bytes.len, &err);
    assert_non_null(message);
    const Csi__V1__NodeGetInfoResponse *back = (const void *)message;
    assert_string_equal(back->node_id, "node-1");
    assert_int_equal(back->max_volumes_per_node, 200);
    message_free(message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
