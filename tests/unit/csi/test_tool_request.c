/* csi/tool_request.h: what the command line makes is what the plugin reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "csi/message.h"
#include "csi/message_text.h"
#include "csi/proto/csi.pb-c.h"
#include "csi/tool_request.h"

static char secret_path[] = "/tmp/sc-tool-XXXXXX";

static void write_secret(const char *text)
{
    int fd = open(secret_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void test_publish(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char pair[64];
    struct tool_request request = {.type = &csi__v1__node_publish_volume_request__descriptor};
    write_secret("hunter2\n");
    snprintf(pair, sizeof(pair), "pass=@%s", secret_path);
    assert_int_equal(tool_request_text(&request, "volume_id", "vol", &err), 0);
    assert_int_equal(tool_request_bool(&request, "readonly", &err), 0);
    assert_int_equal(tool_request_attribute(&request, "inputs=a=b -> c/", &err), 0);
    assert_int_equal(tool_request_secret(&request, pair, &err), 0);
    write_secret("# comment\n\nuser=me\nkey=x=y\n");
    assert_int_equal(tool_request_secrets_file(&request, secret_path, &err), 0);
    assert_int_equal(tool_request_capability(&request, "MULTI_NODE_READER_ONLY", &err), 0);

    ProtobufCMessage *message =
        message_unpack(request.type, (const uint8_t *)request.bytes.data, request.bytes.len, &err);
    assert_non_null(message);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    message_text(message, &text);
    message_free(message);
    assert_string_equal(text.data, "volume_id: vol\n"
                                   "volume_capability:\n"
                                   "  mount:\n"
                                   "  access_mode:\n"
                                   "    mode: MULTI_NODE_READER_ONLY\n"
                                   "readonly: true\n"
                                   "secrets:\n"
                                   "  pass: hunter2\n"
                                   "  user: me\n"
                                   "  key: x=y\n"
                                   "volume_context:\n"
                                   "  inputs: a=b -> c/\n");
    tool_request_deinit(&request);
}

static void test_refusals(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct tool_request request = {.type = &csi__v1__node_publish_volume_request__descriptor};
    assert_int_equal(tool_request_secret(&request, "pass=hunter2", &err), -1);
    assert_null(strstr(err.message, "hunter2"));
    assert_int_equal(tool_request_secret(&request, "pass=@/nonexistent", &err), -1);
    assert_int_equal(tool_request_secret(&request, "pass", &err), -1);
    assert_int_equal(tool_request_attribute(&request, "=x", &err), -1);
    assert_int_equal(tool_request_text(&request, "name", "x", &err), -1);
    assert_int_equal(tool_request_capability(&request, "ANY", &err), -1);
    assert_int_equal(request.bytes.len, 0);
    request.type = &csi__v1__node_get_info_request__descriptor;
    assert_int_equal(tool_request_capability(&request, NULL, &err), 0);
    assert_int_equal(tool_request_capability(&request, "SINGLE_NODE_WRITER", &err), -1);
    tool_request_deinit(&request);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(secret_path);
    return fd >= 0 ? close(fd) : -1;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(secret_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
