#include "cachecore/wire.h"

#include <string.h>

#include "base/mem.h"
#include "cachecore/proto/fetcher.pb-c.h"

static char *borrow(const char *text)
{
    /* protobuf-c's structs hold char *, also where they are only read. */
    return (char *)(uintptr_t)(text ? text : "");
}

static void rules_fill(const struct class *class, Fetcher__Rules *out)
{
    out->name = borrow(class->name);
    out->allowed_sources = borrow(class->allowed_sources);
    out->allowed_addresses = borrow(class->allowed_addresses);
    out->ca_bundle = borrow(class->ca_bundle);
    out->proxy = borrow(class->proxy);
    out->s3_endpoint = borrow(class->s3_endpoint);
    out->s3_region = borrow(class->s3_region);
    out->s3_path_style = class->s3_path_style;
    out->authorize_object = class->authorize == AUTHORIZE_OBJECT;
    out->max_bytes = class->max_bytes;
    out->max_files = class->max_files;
    out->node_identity = class->node_identity;
    out->answer_ttl_s = class->answer_ttl_s;
    out->unreachable_grace_s = class->unreachable_grace_s;
    out->aws_role_arn = borrow(class->aws_role_arn);
    out->google_service_account = borrow(class->google_service_account);
    out->azure_client_id = borrow(class->azure_client_id);
    out->azure_tenant_id = borrow(class->azure_tenant_id);
    out->google_provider = borrow(class->google_provider);
    out->gcs_endpoint = borrow(class->gcs_endpoint);
    out->azure_endpoint = borrow(class->azure_endpoint);
    out->aws_sts_endpoint = borrow(class->aws_sts_endpoint);
    out->aws_pod_identity_endpoint = borrow(class->aws_pod_identity_endpoint);
    out->aws_metadata_endpoint = borrow(class->aws_metadata_endpoint);
    out->google_sts_endpoint = borrow(class->google_sts_endpoint);
    out->google_iam_endpoint = borrow(class->google_iam_endpoint);
    out->google_token_endpoint = borrow(class->google_token_endpoint);
    out->google_metadata_endpoint = borrow(class->google_metadata_endpoint);
    out->azure_authority = borrow(class->azure_authority);
    out->azure_metadata_endpoint = borrow(class->azure_metadata_endpoint);
}

static Fetcher__Secret **secrets_fill(const struct secret_map *map, struct arena *arena)
{
    Fetcher__Secret **list = arena_calloc(arena, map->count + 1, sizeof(Fetcher__Secret *));
    for (size_t i = 0; i < map->count; i++) {
        list[i] = arena_alloc(arena, sizeof(Fetcher__Secret));
        fetcher__secret__init(list[i]);
        list[i]->key = map->entries[i].key;
        const struct secret *value = map->entries[i].value;
        list[i]->value.data = (uint8_t *)(uintptr_t)secret_reveal(value);
        list[i]->value.len = secret_len(value);
    }
    return list;
}

static int pack_bounded(const ProtobufCMessage *message, struct str *out, struct err *err)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len > WIRE_PACKET_MAX)
        return err_set(err, ERR_EXHAUSTED, "the request takes %zu bytes, at most %zu can be passed on", len,
                       WIRE_PACKET_MAX);
    /* Reserved at once: growing would leave copies of secrets behind. */
    str_reserve(out, len);
    protobuf_c_message_pack(message, (uint8_t *)out->data + out->len);
    out->len += len;
    out->data[out->len] = '\0';
    return 0;
}

int wire_order_pack(const struct wire_order *order, struct str *out, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    Fetcher__Rules rules;
    fetcher__rules__init(&rules);
    Fetcher__Start start;
    fetcher__start__init(&start);
    Fetcher__Cancel cancel;
    fetcher__cancel__init(&cancel);
    Fetcher__Order message;
    fetcher__order__init(&message);
    message.version = WIRE_VERSION;
    if (order->kind == WIRE_CANCEL) {
        cancel.job = order->job;
        message.body_case = FETCHER__ORDER__BODY_CANCEL;
        message.cancel = &cancel;
        return pack_bounded(&message.base, out, err);
    }
    rules_fill(&order->rules, &rules);
    start.job = order->job;
    start.inputs = borrow(order->inputs);
    start.inputs_from = borrow(order->inputs_from);
    start.volume = borrow(order->volume);
    start.node = borrow(order->node);
    start.has_local = order->has_local;
    start.rules = &rules;
    start.secrets = secrets_fill(&order->secrets, arena);
    start.n_secrets = order->secrets.count;
    message.body_case = FETCHER__ORDER__BODY_START;
    message.start = &start;
    return pack_bounded(&message.base, out, err);
}

static const char *keep(struct arena *arena, const char *text)
{
    return text && *text ? arena_strdup(arena, text) : NULL;
}

static void rules_read(struct arena *arena, const Fetcher__Rules *rules, struct class *out)
{
    *out = (struct class){.share_type = "local", .sub_path = "", .mount_options = ""};
    out->name = arena_strdup(arena, rules->name ? rules->name : "");
    out->allowed_sources = keep(arena, rules->allowed_sources);
    out->allowed_addresses = keep(arena, rules->allowed_addresses);
    out->ca_bundle = keep(arena, rules->ca_bundle);
    out->proxy = keep(arena, rules->proxy);
    out->s3_endpoint = keep(arena, rules->s3_endpoint);
    out->s3_region = keep(arena, rules->s3_region);
    out->s3_path_style = rules->s3_path_style;
    out->authorize = rules->authorize_object ? AUTHORIZE_OBJECT : AUTHORIZE_PREFIX;
    out->max_bytes = rules->max_bytes;
    out->max_files = rules->max_files;
    out->node_identity = rules->node_identity;
    out->answer_ttl_s = rules->answer_ttl_s;
    out->unreachable_grace_s = rules->unreachable_grace_s;
    out->aws_role_arn = keep(arena, rules->aws_role_arn);
    out->google_service_account = keep(arena, rules->google_service_account);
    out->azure_client_id = keep(arena, rules->azure_client_id);
    out->azure_tenant_id = keep(arena, rules->azure_tenant_id);
    out->google_provider = keep(arena, rules->google_provider);
    out->gcs_endpoint = keep(arena, rules->gcs_endpoint);
    out->azure_endpoint = keep(arena, rules->azure_endpoint);
    out->aws_sts_endpoint = keep(arena, rules->aws_sts_endpoint);
    out->aws_pod_identity_endpoint = keep(arena, rules->aws_pod_identity_endpoint);
    out->aws_metadata_endpoint = keep(arena, rules->aws_metadata_endpoint);
    out->google_sts_endpoint = keep(arena, rules->google_sts_endpoint);
    out->google_iam_endpoint = keep(arena, rules->google_iam_endpoint);
    out->google_token_endpoint = keep(arena, rules->google_token_endpoint);
    out->google_metadata_endpoint = keep(arena, rules->google_metadata_endpoint);
    out->azure_authority = keep(arena, rules->azure_authority);
    out->azure_metadata_endpoint = keep(arena, rules->azure_metadata_endpoint);
}

static int start_read(struct arena *arena, const Fetcher__Start *start, struct wire_order *out, struct err *err)
{
    if (start->job == 0 || !start->rules || start->n_secrets > WIRE_SECRETS_MAX)
        return err_set(err, ERR_CORRUPT, "the order lacks a job or rules, or has too many secrets");
    *out = (struct wire_order){.kind = WIRE_START, .job = start->job, .has_local = start->has_local};
    out->inputs = keep(arena, start->inputs);
    out->inputs_from = keep(arena, start->inputs_from);
    if (!out->inputs == !out->inputs_from)
        return err_set(err, ERR_CORRUPT, "the order needs either inputs or inputsFrom");
    out->volume = arena_strdup(arena, start->volume ? start->volume : "");
    out->node = arena_strdup(arena, start->node ? start->node : "");
    rules_read(arena, start->rules, &out->rules);
    for (size_t i = 0; i < start->n_secrets; i++) {
        const Fetcher__Secret *secret = start->secrets[i];
        secret_map_add(&out->secrets, secret->key ? secret->key : "", secret->value.data, secret->value.len);
    }
    return 0;
}

static int order_read(struct arena *arena, const Fetcher__Order *message, struct wire_order *out, struct err *err)
{
    if (message->version != WIRE_VERSION)
        return err_set(err, ERR_CORRUPT, "the order has version %u, this program speaks %u: restart the plugin",
                       message->version, WIRE_VERSION);
    if (message->body_case == FETCHER__ORDER__BODY_START)
        return start_read(arena, message->start, out, err);
    if (message->body_case != FETCHER__ORDER__BODY_CANCEL || message->cancel->job == 0)
        return err_set(err, ERR_CORRUPT, "the order is of no known kind");
    *out = (struct wire_order){.kind = WIRE_CANCEL, .job = message->cancel->job};
    return 0;
}

static void text_wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
}

/* URLs may be signed. */
static void order_wipe(Fetcher__Order *message)
{
    if (message->body_case == FETCHER__ORDER__BODY_START) {
        text_wipe(message->start->inputs);
        text_wipe(message->start->inputs_from);
        for (size_t i = 0; i < message->start->n_secrets; i++) {
            ProtobufCBinaryData *value = &message->start->secrets[i]->value;
            if (value->len > 0)
                explicit_bzero(value->data, value->len);
        }
    }
    fetcher__order__free_unpacked(message, NULL);
}

int wire_order_parse(struct arena *arena, const void *data, size_t len, struct wire_order *out, struct err *err)
{
    Fetcher__Order *message = len <= WIRE_PACKET_MAX ? fetcher__order__unpack(NULL, len, data) : NULL;
    if (!message)
        return err_set(err, ERR_CORRUPT, "the order is no message of ours");
    struct wire_order order = {.kind = 0};
    int result = order_read(arena, message, &order, err);
    order_wipe(message);
    if (result == 0)
        *out = order;
    return result;
}

void wire_order_deinit(struct wire_order *order)
{
    secret_map_deinit(&order->secrets);
}

void wire_wipe(struct str *packet)
{
    if (packet->data)
        explicit_bzero(packet->data, packet->capacity);
    str_deinit(packet);
}

static void progress_fill(const struct wire_report *report, Fetcher__Progress *out)
{
    out->stage = (uint32_t)report->stage;
    out->bytes_done = report->bytes_done;
    out->bytes_total = report->bytes_total;
    out->bytes_fetched = report->bytes_fetched;
    out->inputs = report->inputs;
    out->store_size_bytes = report->store_size_bytes;
    out->store_free_bytes = report->store_free_bytes;
}

void wire_report_pack(const struct wire_report *report, struct str *out)
{
    Fetcher__Report message;
    fetcher__report__init(&message);
    Fetcher__Hello hello;
    fetcher__hello__init(&hello);
    Fetcher__Progress progress;
    fetcher__progress__init(&progress);
    Fetcher__Done done;
    fetcher__done__init(&done);
    Fetcher__Failed failed;
    fetcher__failed__init(&failed);
    message.version = WIRE_VERSION;
    progress.job = done.job = failed.job = report->job;
    if (report->kind == WIRE_HELLO) {
        message.body_case = FETCHER__REPORT__BODY_HELLO;
        message.hello = &hello;
    } else if (report->kind == WIRE_PROGRESS) {
        progress_fill(report, &progress);
        message.body_case = FETCHER__REPORT__BODY_PROGRESS;
        message.progress = &progress;
    } else if (report->kind == WIRE_DONE) {
        message.body_case = FETCHER__REPORT__BODY_DONE;
        message.done = &done;
    } else {
        failed.code = borrow(err_code_name(report->failure.code));
        failed.message = borrow(report->failure.message);
        message.body_case = FETCHER__REPORT__BODY_FAILED;
        message.failed = &failed;
    }
    size_t len = fetcher__report__get_packed_size(&message);
    str_reserve(out, len);
    fetcher__report__pack(&message, (uint8_t *)out->data + out->len);
    out->len += len;
    out->data[out->len] = '\0';
}

/* A message ends up in events and logs: one line of printable text, whatever the other side wrote. */
static void failure_read(const Fetcher__Failed *failed, struct err *out)
{
    err_set(out, err_code_parse(failed->code ? failed->code : ""), "%s", failed->message ? failed->message : "");
    if (out->code == ERR_NONE)
        out->code = ERR_INTERNAL;
    if (!str_is_utf8(out->message, strlen(out->message))) {
        for (char *at = out->message; *at; at++)
            *at = (unsigned char)*at < 0x80 ? *at : '?';
    }
    for (char *at = out->message; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
    }
}

static int progress_read(const Fetcher__Progress *progress, struct wire_report *out, struct err *err)
{
    if (progress->stage > FILL_DONE)
        return err_set(err, ERR_CORRUPT, "the fetcher reports an unknown stage");
    *out = (struct wire_report){.kind = WIRE_PROGRESS,
                                .job = progress->job,
                                .stage = (enum fill_stage)progress->stage,
                                .bytes_done = progress->bytes_done,
                                .bytes_total = progress->bytes_total,
                                .bytes_fetched = progress->bytes_fetched,
                                .inputs = progress->inputs,
                                .store_size_bytes = progress->store_size_bytes,
                                .store_free_bytes = progress->store_free_bytes};
    return 0;
}

static int report_read(const Fetcher__Report *message, struct wire_report *out, struct err *err)
{
    if (message->version != WIRE_VERSION)
        return err_set(err, ERR_CORRUPT, "the fetcher speaks version %u, this program %u: restart the plugin",
                       message->version, WIRE_VERSION);
    switch (message->body_case) {
    case FETCHER__REPORT__BODY_HELLO:
        *out = (struct wire_report){.kind = WIRE_HELLO};
        return 0;
    case FETCHER__REPORT__BODY_PROGRESS:
        return progress_read(message->progress, out, err);
    case FETCHER__REPORT__BODY_DONE:
        *out = (struct wire_report){.kind = WIRE_DONE, .job = message->done->job};
        return 0;
    case FETCHER__REPORT__BODY_FAILED:
        *out = (struct wire_report){.kind = WIRE_FAILED, .job = message->failed->job};
        failure_read(message->failed, &out->failure);
        return 0;
    default:
        return err_set(err, ERR_CORRUPT, "the fetcher's report is of no known kind");
    }
}

int wire_report_parse(const void *data, size_t len, struct wire_report *out, struct err *err)
{
    Fetcher__Report *message = len <= WIRE_PACKET_MAX ? fetcher__report__unpack(NULL, len, data) : NULL;
    if (!message)
        return err_set(err, ERR_CORRUPT, "the fetcher's report is no message of ours");
    int result = report_read(message, out, err);
    fetcher__report__free_unpacked(message, NULL);
    return result;
}
