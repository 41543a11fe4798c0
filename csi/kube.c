#include "csi/kube.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cachecore/http.h"
#include "cachecore/json_depth.h"

#define CONNECTIONS_MAX 4u
#define CALL_MAX_MS 10000
#define CONNECT_MS 5000u
#define TOKEN_MAX (16u << 10)
#define ANSWER_MAX (4u << 20)
#define DEPTH_MAX 64u
#define MESSAGE_MAX 400u

struct kube {
    char *url;
    char *token_file;
    char *ca_file;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t given_back;
        struct http *idle[CONNECTIONS_MAX];
        unsigned idle_count;
        unsigned busy_count;
    } locked;
};

static const struct verb {
    const char *method;
    const char *content_type;
} verbs[] = {
    [KUBE_GET] = {"GET", NULL},
    [KUBE_POST] = {"POST", "application/json"},
    [KUBE_JSON_PATCH] = {"PATCH", "application/json-patch+json"},
    [KUBE_MERGE_PATCH] = {"PATCH", "application/merge-patch+json"},
};

/* One request under way. What holds the token is wiped. */
struct exchange {
    const struct kube_request *request;
    struct http *http;
    char *body; /* NULL: none */
    struct str answer;
    struct str error_body;
    struct http_response response;
};

struct kube *kube_new(const struct kube_config *config, struct err *err)
{
    if (kube_url_check(config->url, err) != 0) {
        err_prefix(err, "the Kubernetes API's URL");
        return NULL;
    }
    struct kube *kube = mem_alloc(sizeof(*kube));
    kube->url = mem_strdup(config->url);
    kube->token_file = mem_strdup(config->token_file);
    kube->ca_file = mem_strdup(config->ca_file);
    pthread_mutex_init(&kube->locked.mutex, NULL);
    thread_cond_init(&kube->locked.given_back);
    return kube;
}

void kube_free(struct kube *kube)
{
    if (!kube)
        return;
    for (unsigned i = 0; i < kube->locked.idle_count; i++)
        http_free(kube->locked.idle[i]);
    pthread_cond_destroy(&kube->locked.given_back);
    pthread_mutex_destroy(&kube->locked.mutex);
    free(kube->url);
    free(kube->token_file);
    free(kube->ca_file);
    free(kube);
}

/* The API server is the admin's, at whatever address; no one else's certificate will do. */
static struct http *connection_new(const struct kube *kube)
{
    struct http_rules rules = {.allowed_addresses = "*", .ca_bundle = kube->ca_file, .connect_timeout_ms = CONNECT_MS};
    return http_new(&rules);
}

static struct http *connection_take(struct kube *kube, int64_t deadline_ms, struct err *err)
{
    struct http *http = NULL;
    bool is_in_time = true;
    pthread_mutex_lock(&kube->locked.mutex);
    while (kube->locked.busy_count == CONNECTIONS_MAX && is_in_time)
        is_in_time = thread_cond_wait(&kube->locked.given_back, &kube->locked.mutex, deadline_ms);
    bool is_free = kube->locked.busy_count < CONNECTIONS_MAX;
    if (is_free) {
        kube->locked.busy_count++;
        http = kube->locked.idle_count > 0 ? kube->locked.idle[--kube->locked.idle_count] : NULL;
    }
    pthread_mutex_unlock(&kube->locked.mutex);
    if (is_free)
        return http ? http : connection_new(kube);
    err_set(err, ERR_DEADLINE, "all %u connections were busy", CONNECTIONS_MAX);
    return NULL;
}

/* http NULL: it was not worth keeping. */
static void connection_give_back(struct kube *kube, struct http *http)
{
    pthread_mutex_lock(&kube->locked.mutex);
    if (http)
        kube->locked.idle[kube->locked.idle_count++] = http;
    kube->locked.busy_count--;
    pthread_cond_signal(&kube->locked.given_back);
    pthread_mutex_unlock(&kube->locked.mutex);
}

static void str_wipe(struct str *text)
{
    if (text->data)
        explicit_bzero(text->data, text->capacity);
    str_deinit(text);
}

/* A projected token is reached through links, so not by base/fs.h. Returns its length, -1 with errno. */
static ssize_t token_read(const char *path, char out[TOKEN_MAX])
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t len = 0;
    ssize_t got = -1;
    if (fd < 0)
        return -1;
    do {
        got = read(fd, out + len, TOKEN_MAX - (size_t)len);
        len += got > 0 ? got : 0;
    } while (got > 0 || (got < 0 && errno == EINTR));
    while (len > 0 && strchr(" \t\r\n", out[len - 1]))
        len--;
    return got < 0 ? -1 : len;
}

/* Read anew for each request, from memory in a cluster: so a rotation needs no watching. */
static int authorization_read(const struct kube *kube, struct str *out, struct err *err)
{
    char token[TOKEN_MAX];
    ssize_t len = token_read(kube->token_file, token);
    if (len < 0)
        err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot read the token file '%.200s' (--kube-token-file)",
                      kube->token_file);
    else if (len == 0 || len == TOKEN_MAX || memchr(token, '\0', (size_t)len))
        err_set(err, ERR_UNAVAILABLE, "the token file '%.200s' (--kube-token-file) holds no token", kube->token_file);
    else
        str_printf(out, "Bearer %.*s", (int)len, token);
    explicit_bzero(token, sizeof(token));
    return out->len > 0 ? 0 : -1;
}

static int ca_check(const struct kube *kube, struct err *err)
{
    if (access(kube->ca_file, R_OK) == 0)
        return 0;
    return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot read the CA file '%.200s' (--kube-ca-file)",
                         kube->ca_file);
}

static int take_answer(void *context, const struct http_response *response, const void *data, size_t len,
                       struct err *err)
{
    struct exchange *exchange = context;
    (void)response, (void)err;
    str_append(&exchange->answer, data, len);
    return 0;
}

/* No answer is one cause for callers, whatever it was; an answer that is too long is garbage. */
static int failure_sort(struct err *err)
{
    if (err->code == ERR_EXHAUSTED)
        err->code = ERR_CORRUPT;
    else if (err->code != ERR_DEADLINE && err->code != ERR_INVALID)
        err->code = ERR_UNAVAILABLE;
    return -1;
}

static int attempt(const struct kube *kube, struct exchange *exchange, struct err *err)
{
    _cleanup_(str_wipe) struct str authorization = STR_INIT;
    _cleanup_(str_deinitp) struct str url = STR_INIT;
    const struct verb *verb = &verbs[exchange->request->verb];
    int64_t left_ms = exchange->request->deadline_ms - clock_monotonic_ms();
    if (left_ms <= 0)
        return err_set(err, ERR_DEADLINE, "no time was left");
    if (authorization_read(kube, &authorization, err) != 0 || ca_check(kube, err) != 0)
        return failure_sort(err);
    struct http_header headers[] = {{"Authorization", authorization.data, true},
                                    {"Accept", "application/json", false},
                                    {"Content-Type", verb->content_type, false}};
    str_printf(&url, "%s%s", kube->url, exchange->request->path);
    struct http_request request = {.method = verb->method,
                                   .url = url.data,
                                   .display = exchange->request->path,
                                   .headers = headers,
                                   .header_count = verb->content_type ? 3 : 2,
                                   .body_max = ANSWER_MAX,
                                   .no_redirects = true,
                                   .body = exchange->body,
                                   .body_len = exchange->body ? strlen(exchange->body) : 0,
                                   .timeout_ms = (unsigned)left_ms,
                                   .error_body = &exchange->error_body};
    str_clear(&exchange->answer);
    str_clear(&exchange->error_body);
    if (http_perform(exchange->http, &request, take_answer, exchange, &exchange->response, NULL, err) != 0)
        return failure_sort(err);
    return 0;
}

static json_t *object_load(const struct str *text)
{
    if (text->len == 0 || !json_is_shallow(text->data, text->len, DEPTH_MAX))
        return NULL;
    return json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, NULL);
}

/* The API's own words, as one line. */
static void message_read(const struct str *body, char out[MESSAGE_MAX])
{
    json_auto_t *status = object_load(body);
    const char *message = json_string_value(json_object_get(status, "message"));
    size_t len = message ? strlen(message) : 0;
    if (len >= MESSAGE_MAX) {
        len = MESSAGE_MAX - 1;
        while (len > 0 && ((unsigned char)message[len] & 0xc0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)message[i] < ' ' || message[i] == 0x7f ? ' ' : message[i];
    out[len] = '\0';
}

static enum err_code status_code(int status)
{
    static const struct {
        int status;
        enum err_code code;
    } codes[] = {
        {401, ERR_UNAUTHENTICATED}, {403, ERR_DENIED}, {404, ERR_NOT_FOUND}, {409, ERR_EXISTS}, {429, ERR_EXHAUSTED}};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].status == status)
            return codes[i].code;
    return status >= 400 && status < 500 ? ERR_INVALID : ERR_UNAVAILABLE;
}

static int answer_judge(const struct exchange *exchange, json_t **out, struct err *err)
{
    char message[MESSAGE_MAX];
    int status = exchange->response.status;
    if (status >= 300) {
        message_read(&exchange->error_body, message);
        return err_set(err, status_code(status), "HTTP status %d%s%s", status, message[0] ? ": " : "", message);
    }
    json_t *object = object_load(&exchange->answer);
    if (!json_is_object(object)) {
        json_decref(object);
        return err_set(err, ERR_CORRUPT, "the answer is not a JSON object");
    }
    if (out)
        *out = object;
    else
        json_decref(object);
    return 0;
}

/* kubelet may have rotated the token between the read and the use: a second look decides. */
static int exchange_run(const struct kube *kube, struct exchange *exchange, json_t **out, struct err *err)
{
    if (attempt(kube, exchange, err) != 0)
        return -1;
    if (exchange->response.status == 401 && attempt(kube, exchange, err) != 0)
        return -1;
    return answer_judge(exchange, out, err);
}

int kube_call(struct kube *kube, const struct kube_request *request, json_t **out, struct err *err)
{
    int64_t now_ms = clock_monotonic_ms();
    struct kube_request bounded = *request;
    struct exchange exchange = {.request = &bounded};
    if (bounded.deadline_ms > now_ms + CALL_MAX_MS)
        bounded.deadline_ms = now_ms + CALL_MAX_MS;
    exchange.http = connection_take(kube, bounded.deadline_ms, err);
    if (!exchange.http)
        return err_prefix(err, "Kubernetes API: %s %.200s", verbs[request->verb].method, request->path);
    exchange.body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
    int failed = exchange_run(kube, &exchange, out, err);
    /* A handle remembers the CA file's contents: after a failure the next call reads them anew. */
    bool keeps = !failed || exchange.response.status != 0;
    if (!keeps)
        http_free(exchange.http);
    connection_give_back(kube, keeps ? exchange.http : NULL);
    free(exchange.body);
    str_deinit(&exchange.answer);
    str_deinit(&exchange.error_body);
    return failed ? err_prefix(err, "Kubernetes API: %s %.200s", verbs[request->verb].method, request->path) : 0;
}
