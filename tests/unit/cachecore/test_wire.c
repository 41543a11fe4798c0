#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cachecore/wire.h"

#define OBJECT "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static struct wire_order sample_order(void)
{
    struct wire_order order = {.kind = WIRE_START, .job = 7, .inputs = "https://example.com/a\n", .volume = "00ff"};
    order.node = "node-1";
    order.has_local = true;
    order.rules = (struct class){.name = "shared",
                                 .allowed_sources = "https://*",
                                 .allowed_addresses = "127.0.0.0/8",
                                 .ca_bundle = "/etc/ca.pem",
                                 .s3_endpoint = "https://s3.example.com",
                                 .s3_path_style = true,
                                 .authorize = AUTHORIZE_OBJECT,
                                 .max_bytes = UINT64_MAX,
                                 .max_files = 3};
    return order;
}

static void test_start_survives_the_way(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct str packet = STR_INIT;
    struct wire_order order = sample_order();
    struct wire_order got;
    secret_map_add(&order.secrets, "token", "a\0b", 3);
    secret_map_add(&order.tokens, "sts.amazonaws.com", "e.f.g", 5);
    order.facts = (struct identity_facts){.namespace = "ml",
                                          .service_account = "train",
                                          .aws_role_arn = "arn:aws:iam::123456789012:role/r",
                                          .google_service_account = "a@p.iam.gserviceaccount.com",
                                          .azure_client_id = "c",
                                          .azure_tenant_id = "t"};
    assert_int_equal(wire_order_pack(&order, &packet, &err), 0);
    assert_int_equal(wire_order_parse(arena, packet.data, packet.len, &got, &err), 0);
    assert_int_equal(got.kind, WIRE_START);
    assert_int_equal(got.job, 7);
    assert_string_equal(got.inputs, order.inputs);
    assert_null(got.inputs_from);
    assert_string_equal(got.volume, "00ff");
    assert_string_equal(got.node, "node-1");
    assert_true(got.has_local);
    assert_string_equal(got.rules.name, "shared");
    assert_string_equal(got.rules.allowed_sources, "https://*");
    assert_string_equal(got.rules.allowed_addresses, "127.0.0.0/8");
    assert_string_equal(got.rules.ca_bundle, "/etc/ca.pem");
    assert_null(got.rules.proxy);
    assert_string_equal(got.rules.s3_endpoint, "https://s3.example.com");
    assert_null(got.rules.s3_region);
    assert_true(got.rules.s3_path_style);
    assert_int_equal(got.rules.authorize, AUTHORIZE_OBJECT);
    assert_true(got.rules.max_bytes == UINT64_MAX);
    assert_int_equal(got.rules.max_files, 3);
    const struct secret *token = secret_map_get(&got.secrets, "token");
    assert_non_null(token);
    assert_int_equal(secret_len(token), 3);
    assert_memory_equal(secret_reveal(token), "a\0b", 3);
    assert_int_equal(got.tokens.count, 1);
    assert_string_equal(secret_reveal(secret_map_get(&got.tokens, "sts.amazonaws.com")), "e.f.g");
    assert_string_equal(got.facts.namespace, "ml");
    assert_string_equal(got.facts.service_account, "train");
    assert_string_equal(got.facts.aws_role_arn, order.facts.aws_role_arn);
    assert_string_equal(got.facts.google_service_account, order.facts.google_service_account);
    assert_string_equal(got.facts.azure_client_id, "c");
    assert_string_equal(got.facts.azure_tenant_id, "t");
    wire_order_deinit(&got);
    wire_order_deinit(&order);
    wire_wipe(&packet);
}

static void test_cancel_survives_the_way(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct str packet = STR_INIT;
    const struct wire_order order = {.kind = WIRE_CANCEL, .job = 9};
    struct wire_order got;
    assert_int_equal(wire_order_pack(&order, &packet, &err), 0);
    assert_int_equal(wire_order_parse(arena, packet.data, packet.len, &got, &err), 0);
    assert_int_equal(got.kind, WIRE_CANCEL);
    assert_int_equal(got.job, 9);
    wire_wipe(&packet);
}

static void test_renew_survives_the_way(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct str packet = STR_INIT;
    struct wire_order order = {.kind = WIRE_RENEW, .job = 9};
    struct wire_order got;
    secret_map_add(&order.secrets, "password", "new", 3);
    secret_map_add(&order.tokens, "a", "token", 5);
    assert_int_equal(wire_order_pack(&order, &packet, &err), 0);
    assert_int_equal(wire_order_parse(arena, packet.data, packet.len, &got, &err), 0);
    assert_int_equal(got.kind, WIRE_RENEW);
    assert_int_equal(got.job, 9);
    assert_string_equal(secret_reveal(secret_map_get(&got.secrets, "password")), "new");
    assert_string_equal(secret_reveal(secret_map_get(&got.tokens, "a")), "token");
    wire_order_deinit(&got);
    wire_order_deinit(&order);
    wire_wipe(&packet);
}

/* As many secrets as a request may have (csi/request.h) reach the fetcher; what the node cannot pass on it says itself. */
static void test_secrets_and_tokens_are_counted(void **state)
{
    (void)state;
    static const enum wire_order_kind kinds[] = {WIRE_START, WIRE_RENEW};
    for (size_t i = 0; i < 4; i++) {
        struct err err = ERR_INIT;
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct str packet = STR_INIT;
        struct wire_order order = sample_order();
        struct wire_order got;
        struct secret_map *map = i % 2 ? &order.tokens : &order.secrets;
        order.kind = kinds[i / 2];
        for (unsigned k = 0; k < (i % 2 ? WIRE_TOKENS_MAX : WIRE_SECRETS_MAX); k++)
            secret_map_add(map, "key", "v", 1);
        assert_int_equal(wire_order_pack(&order, &packet, &err), 0);
        assert_int_equal(wire_order_parse(arena, packet.data, packet.len, &got, &err), 0);
        wire_order_deinit(&got);
        secret_map_add(map, "key", "v", 1);
        assert_int_equal(wire_order_pack(&order, &packet, &err), -1);
        assert_int_equal(err.code, ERR_EXHAUSTED);
        wire_order_deinit(&order);
        wire_wipe(&packet);
    }
}

static void test_orders_are_bounded(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct str packet = STR_INIT;
    struct wire_order order = sample_order();
    char *large = mem_alloc(WIRE_PACKET_MAX + 1);
    memset(large, 'x', WIRE_PACKET_MAX);
    order.inputs = large;
    assert_int_equal(wire_order_pack(&order, &packet, &err), -1);
    assert_int_equal(err.code, ERR_EXHAUSTED);
    large[128 << 10] = '\0';
    assert_int_equal(wire_order_pack(&order, &packet, &err), 0);
    wire_wipe(&packet);
    free(large);
}

static void expect_refused(const struct wire_order *order)
{
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct str packet = STR_INIT;
    struct wire_order got = {.kind = 0};
    assert_int_equal(wire_order_pack(order, &packet, &err), 0);
    assert_int_equal(wire_order_parse(arena, packet.data, packet.len, &got, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(got.kind, 0);
    wire_wipe(&packet);
}

static void test_nonsense_orders_are_refused(void **state)
{
    (void)state;
    struct wire_order no_job = sample_order();
    no_job.job = 0;
    expect_refused(&no_job);
    struct wire_order no_list = sample_order();
    no_list.inputs = NULL;
    expect_refused(&no_list);
    struct wire_order two_lists = sample_order();
    two_lists.inputs_from = "https://example.com/list";
    expect_refused(&two_lists);
    const struct wire_order no_renewed_job = {.kind = WIRE_RENEW};
    expect_refused(&no_renewed_job);
    char long_fact[WIRE_FACT_MAX + 2] = "";
    memset(long_fact, 'x', WIRE_FACT_MAX + 1);
    struct wire_order long_facts = sample_order();
    long_facts.facts.azure_tenant_id = long_fact;
    expect_refused(&long_facts);
    struct err err = ERR_INIT;
    struct wire_order got;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    /* version 2, cancel of job 1 */
    assert_int_equal(wire_order_parse(arena, "\x08\x02\x1a\x02\x08\x01", 6, &got, &err), -1);
    assert_non_null(strstr(err.message, "version 2"));
    assert_int_equal(wire_order_parse(arena, "\x08\x01\x1a\x02\x08\x01", 6, &got, &err), 0);
    assert_int_equal(wire_order_parse(arena, "\x08\x01\x1a\x09\x08\x01", 6, &got, &err), -1);
    /* a renewal of job 1 with 17 empty tokens */
    char tokens[4 + 2 + 2 * (WIRE_TOKENS_MAX + 1)] = "\x08\x01\x22\x24\x08\x01";
    for (size_t i = 6; i < sizeof(tokens); i += 2)
        memcpy(tokens + i, "\x1a\x00", 2);
    assert_int_equal(wire_order_parse(arena, tokens, sizeof(tokens), &got, &err), -1);
    assert_non_null(strstr(err.message, "too many"));
}

static void test_reports_survive_the_way(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct wire_report reports[] = {
        {.kind = WIRE_HELLO},
        {.kind = WIRE_PROGRESS,
         .job = 1,
         .stage = FILL_COPYING,
         .bytes_done = 1,
         .bytes_total = 2,
         .bytes_fetched = 3,
         .inputs = 4,
         .store_size_bytes = UINT64_MAX,
         .store_free_bytes = 5},
        {.kind = WIRE_DONE, .job = 2},
        {.kind = WIRE_FAILED, .job = 3},
    };
    err_set(&reports[3].failure, ERR_DENIED, "input 1: HTTP 403");
    for (size_t i = 0; i < 4; i++) {
        _cleanup_(str_deinitp) struct str packet = STR_INIT;
        struct wire_report got;
        wire_report_pack(&reports[i], &packet);
        assert_int_equal(wire_report_parse(packet.data, packet.len, &got, &err), 0);
        assert_int_equal(got.kind, reports[i].kind);
        assert_int_equal(got.job, reports[i].job);
        assert_int_equal(got.stage, reports[i].stage);
        assert_int_equal(got.bytes_done, reports[i].bytes_done);
        assert_int_equal(got.bytes_total, reports[i].bytes_total);
        assert_int_equal(got.bytes_fetched, reports[i].bytes_fetched);
        assert_int_equal(got.inputs, reports[i].inputs);
        assert_int_equal(got.store_size_bytes, reports[i].store_size_bytes);
        assert_int_equal(got.store_free_bytes, reports[i].store_free_bytes);
        assert_int_equal(got.failure.code, reports[i].failure.code);
        assert_string_equal(got.failure.message, reports[i].failure.message);
    }
}

/* A fetcher that was taken over cannot forge log lines or answer "no error". */
static void test_failures_are_made_printable(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(str_deinitp) struct str packet = STR_INIT;
    struct wire_report report = {.kind = WIRE_FAILED, .job = 3};
    struct wire_report got;
    err_set(&report.failure, ERR_NONE, "a\nb\x7f\xff");
    wire_report_pack(&report, &packet);
    assert_int_equal(wire_report_parse(packet.data, packet.len, &got, &err), 0);
    assert_int_equal(got.failure.code, ERR_INTERNAL);
    assert_string_equal(got.failure.message, "a b ?");
}

static struct fill_result sample_result(struct arena *arena)
{
    struct err err = ERR_INIT;
    struct fill_result result = {.count = 2};
    result.inputs = arena_calloc(arena, 2, sizeof(*result.inputs));
    static const char *const places[] = {"a/vocab.txt", "train"};
    for (size_t i = 0; i < 2; i++) {
        struct fill_input_result *input = &result.inputs[i];
        struct snapshot_file *files = arena_calloc(arena, i + 1, sizeof(*files));
        for (size_t k = 0; k <= i; k++) {
            files[k] = (struct snapshot_file){
                .path = k ? "x/two" : "one", .size = 5 + k, .mtime_s = 1, .validator = "etag:\"q\""};
            memcpy(files[k].object, OBJECT, sizeof(OBJECT));
        }
        input->place = places[i];
        input->display = "https://example.com/a";
        input->is_file = i == 0;
        input->bytes_hit = 11;
        input->bytes_missed = 12;
        assert_int_equal(snapshot_make(arena, files, i + 1, &input->list, &err), 0);
        snapshot_id(&input->list, input->snapshot);
    }
    return result;
}

static void test_result_survives_the_way(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct fill_result result = sample_result(arena);
    struct fill_result got;
    _cleanup_(closep) int fd = wire_result_seal(&result, &err);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(wire_result_read(fd, 3, arena, &got, &err), 0);
    assert_int_equal(got.count, 2);
    assert_string_equal(got.inputs[0].place, "a/vocab.txt");
    assert_true(got.inputs[0].is_file);
    assert_false(got.inputs[1].is_file);
    assert_int_equal(got.inputs[1].list.count, 2);
    assert_string_equal(got.inputs[1].list.files[1].path, "x/two");
    assert_string_equal(got.inputs[1].snapshot, result.inputs[1].snapshot);
    assert_int_equal(got.inputs[1].bytes_hit, 11);
    assert_int_equal(got.inputs[1].bytes_missed, 12);
    assert_int_equal(wire_result_read(fd, 2, arena, &got, &err), -1);
}

static void expect_result_refused(const struct fill_result *result, const char *why)
{
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct fill_result got = {.count = 77};
    _cleanup_(closep) int fd = wire_result_seal(result, &err);
    assert_true(fd >= 0);
    assert_int_equal(wire_result_read(fd, 100, arena, &got, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_non_null(strstr(err.message, why));
    assert_int_equal(got.count, 77);
}

/* What a fetcher that was taken over may try: each is refused by the side that mounts. */
static void test_hostile_results_are_refused(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    static const char *const places[] = {"../etc", "/etc", "a/../b", "a//b", "a\nb", "", "."};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct fill_result result = sample_result(arena);
        result.inputs[0].place = places[i];
        expect_result_refused(&result, "");
    }
    struct fill_result wrong_id = sample_result(arena);
    wrong_id.inputs[1].snapshot[0] ^= 1;
    expect_result_refused(&wrong_id, "not the one that its id names");
    struct fill_result two_files = sample_result(arena);
    two_files.inputs[1].is_file = true;
    expect_result_refused(&two_files, "is one file but lists 2");
    struct fill_result display = sample_result(arena);
    display.inputs[0].display = "a\nlevel=error";
    expect_result_refused(&display, "plain text");
    struct fill_result path = sample_result(arena);
    path.inputs[0].list.files[0].path = "../x";
    expect_result_refused(&path, "");
}

static void test_memory_must_be_sealed_and_whole(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct fill_result got;
    _cleanup_(closep) int open_fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(open_fd, "\1\0\0\0x", 5), 5);
    assert_int_equal(wire_result_read(open_fd, 3, arena, &got, &err), -1);
    assert_non_null(strstr(err.message, "not sealed"));
    assert_int_equal(fcntl(open_fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    assert_int_equal(wire_result_read(open_fd, 3, arena, &got, &err), -1);
    assert_non_null(strstr(err.message, "cut short"));
    _cleanup_(closep) int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(wire_result_read(file, 3, arena, &got, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_survives_the_way),
        cmocka_unit_test(test_cancel_survives_the_way),
        cmocka_unit_test(test_renew_survives_the_way),
        cmocka_unit_test(test_secrets_and_tokens_are_counted),
        cmocka_unit_test(test_orders_are_bounded),
        cmocka_unit_test(test_nonsense_orders_are_refused),
        cmocka_unit_test(test_reports_survive_the_way),
        cmocka_unit_test(test_failures_are_made_printable),
        cmocka_unit_test(test_result_survives_the_way),
        cmocka_unit_test(test_hostile_results_are_refused),
        cmocka_unit_test(test_memory_must_be_sealed_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
