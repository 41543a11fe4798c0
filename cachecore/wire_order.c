/* Orders: what the node tells its fetcher. They hold secrets. */
#include <string.h>

#include "cachecore/proto/fetcher.pb-c.h"
#include "cachecore/wire.h"

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

static void facts_fill(const struct identity_facts *facts, Fetcher__Facts *out)
{
    out->namespace_ = borrow(facts->namespace);
    out->service_account = borrow(facts->service_account);
    out->aws_role_arn = borrow(facts->aws_role_arn);
    out->google_service_account = borrow(facts->google_service_account);
    out->azure_client_id = borrow(facts->azure_client_id);
    out->azure_tenant_id = borrow(facts->azure_tenant_id);
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

static int counts_check(const struct wire_order *order, struct err *err)
{
    if (order->secrets.count > WIRE_SECRETS_MAX)
        return err_set(err, ERR_EXHAUSTED, "the secret has %zu keys, at most %u can be passed on", order->secrets.count,
                       WIRE_SECRETS_MAX);
    if (order->tokens.count > WIRE_TOKENS_MAX)
        return err_set(err, ERR_EXHAUSTED, "there are %zu service account tokens, at most %u can be passed on",
                       order->tokens.count, WIRE_TOKENS_MAX);
    return 0;
}

static int cancel_pack(const struct wire_order *order, struct str *out, struct err *err)
{
    Fetcher__Cancel cancel = FETCHER__CANCEL__INIT;
    Fetcher__Order message = FETCHER__ORDER__INIT;
    cancel.job = order->job;
    message.version = WIRE_VERSION;
    message.body_case = FETCHER__ORDER__BODY_CANCEL;
    message.cancel = &cancel;
    return pack_bounded(&message.base, out, err);
}

static int renew_pack(const struct wire_order *order, struct arena *arena, struct str *out, struct err *err)
{
    Fetcher__Renew renew = FETCHER__RENEW__INIT;
    Fetcher__Order message = FETCHER__ORDER__INIT;
    renew.job = order->job;
    renew.secrets = secrets_fill(&order->secrets, arena);
    renew.n_secrets = order->secrets.count;
    renew.tokens = secrets_fill(&order->tokens, arena);
    renew.n_tokens = order->tokens.count;
    message.version = WIRE_VERSION;
    message.body_case = FETCHER__ORDER__BODY_RENEW;
    message.renew = &renew;
    return pack_bounded(&message.base, out, err);
}

static int start_pack(const struct wire_order *order, struct arena *arena, struct str *out, struct err *err)
{
    Fetcher__Rules rules = FETCHER__RULES__INIT;
    Fetcher__Facts facts = FETCHER__FACTS__INIT;
    Fetcher__Start start = FETCHER__START__INIT;
    Fetcher__Order message = FETCHER__ORDER__INIT;
    rules_fill(&order->rules, &rules);
    facts_fill(&order->facts, &facts);
    start.job = order->job;
    start.inputs = borrow(order->inputs);
    start.inputs_from = borrow(order->inputs_from);
    start.volume = borrow(order->volume);
    start.node = borrow(order->node);
    start.has_local = order->has_local;
    start.rules = &rules;
    start.facts = &facts;
    start.secrets = secrets_fill(&order->secrets, arena);
    start.n_secrets = order->secrets.count;
    start.tokens = secrets_fill(&order->tokens, arena);
    start.n_tokens = order->tokens.count;
    message.version = WIRE_VERSION;
    message.body_case = FETCHER__ORDER__BODY_START;
    message.start = &start;
    return pack_bounded(&message.base, out, err);
}

int wire_order_pack(const struct wire_order *order, struct str *out, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    if (order->kind == WIRE_CANCEL)
        return cancel_pack(order, out, err);
    if (counts_check(order, err) != 0)
        return -1;
    return order->kind == WIRE_RENEW ? renew_pack(order, arena, out, err) : start_pack(order, arena, out, err);
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

static int facts_read(struct arena *arena, const Fetcher__Facts *facts, struct identity_facts *out, struct err *err)
{
    const struct {
        const char *from;
        const char **to;
    } fields[] = {
        {facts->namespace_, &out->namespace},
        {facts->service_account, &out->service_account},
        {facts->aws_role_arn, &out->aws_role_arn},
        {facts->google_service_account, &out->google_service_account},
        {facts->azure_client_id, &out->azure_client_id},
        {facts->azure_tenant_id, &out->azure_tenant_id},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].from && strlen(fields[i].from) > WIRE_FACT_MAX)
            return err_set(err, ERR_CORRUPT, "the order's facts are too long");
        *fields[i].to = keep(arena, fields[i].from);
    }
    return 0;
}

static void secrets_read(Fetcher__Secret *const *from, size_t count, struct secret_map *out)
{
    for (size_t i = 0; i < count; i++)
        secret_map_add(out, from[i]->key ? from[i]->key : "", from[i]->value.data, from[i]->value.len);
}

static int start_read(struct arena *arena, const Fetcher__Start *start, struct wire_order *out, struct err *err)
{
    if (start->job == 0 || !start->rules || !start->facts || start->n_secrets > WIRE_SECRETS_MAX ||
        start->n_tokens > WIRE_TOKENS_MAX)
        return err_set(err, ERR_CORRUPT, "the order lacks a job, rules or facts, or has too many secrets or tokens");
    *out = (struct wire_order){.kind = WIRE_START, .job = start->job, .has_local = start->has_local};
    out->inputs = keep(arena, start->inputs);
    out->inputs_from = keep(arena, start->inputs_from);
    if (!out->inputs == !out->inputs_from)
        return err_set(err, ERR_CORRUPT, "the order needs either inputs or inputsFrom");
    out->volume = arena_strdup(arena, start->volume ? start->volume : "");
    out->node = arena_strdup(arena, start->node ? start->node : "");
    rules_read(arena, start->rules, &out->rules);
    if (facts_read(arena, start->facts, &out->facts, err) != 0)
        return -1;
    secrets_read(start->secrets, start->n_secrets, &out->secrets);
    secrets_read(start->tokens, start->n_tokens, &out->tokens);
    return 0;
}

static int renew_read(const Fetcher__Renew *renew, struct wire_order *out, struct err *err)
{
    if (renew->job == 0 || renew->n_secrets > WIRE_SECRETS_MAX || renew->n_tokens > WIRE_TOKENS_MAX)
        return err_set(err, ERR_CORRUPT, "the order lacks a job, or has too many secrets or tokens");
    *out = (struct wire_order){.kind = WIRE_RENEW, .job = renew->job};
    secrets_read(renew->secrets, renew->n_secrets, &out->secrets);
    secrets_read(renew->tokens, renew->n_tokens, &out->tokens);
    return 0;
}

static int order_read(struct arena *arena, const Fetcher__Order *message, struct wire_order *out, struct err *err)
{
    if (message->version != WIRE_VERSION)
        return err_set(err, ERR_CORRUPT, "the order has version %u, this program speaks %u: restart the plugin",
                       message->version, WIRE_VERSION);
    if (message->body_case == FETCHER__ORDER__BODY_START)
        return start_read(arena, message->start, out, err);
    if (message->body_case == FETCHER__ORDER__BODY_RENEW)
        return renew_read(message->renew, out, err);
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

static void secrets_wipe(Fetcher__Secret *const *secrets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (secrets[i]->value.len > 0)
            explicit_bzero(secrets[i]->value.data, secrets[i]->value.len);
    }
}

/* URLs may be signed. */
static void order_wipe(Fetcher__Order *message)
{
    if (message->body_case == FETCHER__ORDER__BODY_START) {
        text_wipe(message->start->inputs);
        text_wipe(message->start->inputs_from);
        secrets_wipe(message->start->secrets, message->start->n_secrets);
        secrets_wipe(message->start->tokens, message->start->n_tokens);
    } else if (message->body_case == FETCHER__ORDER__BODY_RENEW) {
        secrets_wipe(message->renew->secrets, message->renew->n_secrets);
        secrets_wipe(message->renew->tokens, message->renew->n_tokens);
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
    secret_map_deinit(&order->tokens);
}

void wire_wipe(struct str *packet)
{
    if (packet->data)
        explicit_bzero(packet->data, packet->capacity);
    str_deinit(packet);
}
