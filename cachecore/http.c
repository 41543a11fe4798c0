#include "cachecore/http.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/http_hop.h"
#include "cachecore/http_memory.h"
#include "cachecore/http_redirect.h"
#include "cachecore/provider.h"

#define BUFFER_SIZE (256L << 10)
#define LOW_SPEED_BYTES 1024L
#define REDIRECTS_MAX 5u

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_init(void)
{
    struct sigaction action;
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, http_memory_alloc, http_memory_free, http_memory_realloc,
                             http_memory_strdup, http_memory_calloc) != CURLE_OK)
        abort();
    /* OpenSSL writes to sockets without MSG_NOSIGNAL. */
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

static char *text_copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

struct http *http_new(const struct http_rules *rules)
{
    struct err ignored = ERR_INIT;
    pthread_once(&library_once, library_init);
    struct http *http = mem_alloc(sizeof(*http));
    http->easy = curl_easy_init();
    if (!http->easy)
        abort();
    /* The class checked the text; if nobody did, nothing is allowed. */
    if (address_rules_parse(rules->allowed_addresses, &http->addresses, &ignored) != 0)
        http->addresses = (struct address_rules){0};
    http->ca_bundle = text_copy(rules->ca_bundle);
    http->proxy = text_copy(rules->proxy);
    http->limits.low_speed_seconds = rules->low_speed_seconds ? rules->low_speed_seconds : 30;
    http->limits.connect_timeout_ms = rules->connect_timeout_ms ? rules->connect_timeout_ms : 10000;
    http->limits.redirects_max = rules->redirects_max ? rules->redirects_max : REDIRECTS_MAX;
    http->retry_after_s = -1;
    return http;
}

void http_free(struct http *http)
{
    if (!http)
        return;
    curl_easy_cleanup(http->easy);
    free(http->ca_bundle);
    free(http->proxy);
    free(http);
}

int64_t http_retry_after_s(const struct http *http)
{
    return http->retry_after_s;
}

/* A cloud's own network may have its stores at private addresses; who answers there is proved by the certificate. */
static bool is_private_endpoint(const struct hop *hop, const struct curl_sockaddr *address)
{
    return strcmp(hop->url.scheme, "https") == 0 && hop->url.port == 443 && provider_host_is_known(hop->url.host) &&
           address_is_private(&address->addr, address->addrlen);
}

/* Every socket is opened here. A proxy is the admin's choice, and names are then resolved by it. */
static curl_socket_t on_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct hop *hop = context;
    const struct http *http = hop->http;
    (void)purpose;
    const char *refusal = http->proxy ? NULL : address_refusal(&http->addresses, &address->addr, address->addrlen);
    if (refusal && !is_private_endpoint(hop, address)) {
        hop->refusal = refusal;
        return CURL_SOCKET_BAD;
    }
    hop->had_socket = true;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    (void)total, (void)now, (void)up_total, (void)up;
    return http_exchange_is_cancelled(context) ? 1 : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    return http_exchange_header(context, data, size * count, clock_wall_s()) == 0 ? size * count : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    return http_exchange_body(context, data, size * count) == 0 ? size * count : 0;
}

static struct curl_slist *header_add(struct curl_slist *list, const char *name, const char *value)
{
    _cleanup_(str_deinitp) struct str line = STR_INIT;
    str_printf(&line, *value ? "%s: %s" : "%s;", name, value);
    list = curl_slist_append(list, line.data);
    explicit_bzero(line.data, line.capacity);
    if (!list)
        abort();
    return list;
}

static bool has_header(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0)
            return true;
    }
    return false;
}

static struct curl_slist *headers_make(const struct http_request *request, bool drops_credentials)
{
    struct curl_slist *list = NULL;
    if (!has_header(request, "Accept-Encoding"))
        list = header_add(list, "Accept-Encoding", "identity");
    if (request->body && request->body_len == 0)
        list = curl_slist_append(list, "Content-Type:"); /* no body has no type: libcurl would say a form's */
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (!header->is_credential || !drops_credentials)
            list = header_add(list, header->name, header->value);
    }
    return list;
}

static void headers_free(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item; item = item->next)
        explicit_bzero(item->data, strlen(item->data));
    curl_slist_free_all(list);
}

DEFINE_CLEANUP(struct curl_slist *, headers_free);

static void option_check(CURLcode code)
{
    assert(code == CURLE_OK);
}

#define OPTION(easy, option, value) option_check(curl_easy_setopt(easy, option, value))

/* libcurl borrows the body. */
static void method_options(CURL *easy, const struct http_request *request)
{
    if (request->body) {
        OPTION(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        OPTION(easy, CURLOPT_POSTFIELDS, request->body);
        OPTION(easy, CURLOPT_CUSTOMREQUEST, request->method);
    } else if (strcmp(request->method, "HEAD") == 0) {
        OPTION(easy, CURLOPT_NOBODY, 1L);
    } else {
        OPTION(easy, CURLOPT_HTTPGET, 1L);
    }
}

static void transfer_options(const struct hop *hop)
{
    CURL *easy = hop->http->easy;
    OPTION(easy, CURLOPT_URL, hop->text);
    OPTION(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    OPTION(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    OPTION(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    OPTION(easy, CURLOPT_FOLLOWLOCATION, 0L);
    OPTION(easy, CURLOPT_PATH_AS_IS, 1L);
    OPTION(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    OPTION(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    OPTION(easy, CURLOPT_NOSIGNAL, 1L);
    OPTION(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    /* Refused while the handle still has the buffer of a transfer that failed early: it has the right size then. */
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
    OPTION(easy, CURLOPT_USERAGENT, "sharedcache/" SC_VERSION);
    OPTION(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)hop->http->limits.connect_timeout_ms);
    OPTION(easy, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
    OPTION(easy, CURLOPT_LOW_SPEED_TIME, (long)hop->http->limits.low_speed_seconds);
    OPTION(easy, CURLOPT_TIMEOUT_MS, (long)hop->exchange->request->timeout_ms);
    method_options(easy, hop->exchange->request);
}

/* An empty proxy and an empty list of exceptions keep libcurl from reading the environment. */
static void trust_options(const struct hop *hop)
{
    const struct http *http = hop->http;
    OPTION(http->easy, CURLOPT_SSL_VERIFYPEER, 1L);
    OPTION(http->easy, CURLOPT_SSL_VERIFYHOST, 2L);
    OPTION(http->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    OPTION(http->easy, CURLOPT_PROXY, http->proxy ? http->proxy : "");
    OPTION(http->easy, CURLOPT_NOPROXY, "");
    OPTION(http->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (!http->ca_bundle)
        return;
    OPTION(http->easy, CURLOPT_CAINFO, http->ca_bundle);
    OPTION(http->easy, CURLOPT_CAPATH, NULL);
    OPTION(http->easy, CURLOPT_PROXY_CAINFO, http->ca_bundle);
}

static void callback_options(struct hop *hop)
{
    CURL *easy = hop->http->easy;
    OPTION(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    OPTION(easy, CURLOPT_OPENSOCKETDATA, hop);
    OPTION(easy, CURLOPT_NOPROGRESS, 0L);
    OPTION(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    OPTION(easy, CURLOPT_XFERINFODATA, hop->exchange);
    OPTION(easy, CURLOPT_HEADERFUNCTION, on_header);
    OPTION(easy, CURLOPT_HEADERDATA, hop->exchange);
    OPTION(easy, CURLOPT_WRITEFUNCTION, on_body);
    OPTION(easy, CURLOPT_WRITEDATA, hop->exchange);
    OPTION(easy, CURLOPT_ERRORBUFFER, hop->detail);
}

static int result_judge(const struct hop *hop, CURLcode result, struct err *err)
{
    const struct http_exchange *exchange = hop->exchange;
    if (exchange->err.code != ERR_NONE) {
        *err = exchange->err;
        return -1;
    }
    if (exchange->is_stopped || http_exchange_is_cancelled(exchange))
        return err_set(err, ERR_CANCELLED, "the transfer was stopped");
    if (exchange->head.is_complete && (result == CURLE_OK || exchange->is_cut))
        return 0;
    return http_failure_error(hop, result, err);
}

/* Behind a proxy the address is out of sight, but a URL may still spell one out. */
static int literal_check(const struct hop *hop, struct err *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", hop->url.port);
    if (!hop->http->proxy || getaddrinfo(hop->url.host, port, &hints, &found) != 0)
        return 0;
    const char *refusal = address_refusal(&hop->http->addresses, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return refusal ? http_refusal_error(hop, refusal, err) : 0;
}

static int hop_perform(struct hop *hop, struct err *err)
{
    struct http *http = hop->http;
    if (literal_check(hop, err) != 0)
        return -1;
    _cleanup_(headers_freep) struct curl_slist *headers = headers_make(hop->exchange->request, hop->drops_credentials);
    memset(&hop->exchange->head, 0, sizeof(hop->exchange->head));
    http_head_init(&hop->exchange->head);
    hop->exchange->body_bytes = hop->exchange->error_body_len = 0;
    hop->exchange->is_cut = false;
    curl_easy_reset(http->easy);
    transfer_options(hop);
    trust_options(hop);
    callback_options(hop);
    OPTION(http->easy, CURLOPT_HTTPHEADER, headers);
    CURLcode result = curl_easy_perform(http->easy);
    http->retry_after_s = hop->exchange->head.response.retry_after_s;
    int judged = result_judge(hop, result, err);
    OPTION(http->easy, CURLOPT_HTTPHEADER, NULL);
    OPTION(http->easy, CURLOPT_ERRORBUFFER, NULL);
    http_exchange_end(hop->exchange);
    return judged;
}

static bool is_redirect(const struct http_exchange *exchange)
{
    int status = exchange->head.response.status;
    bool moves = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    return moves && !exchange->request->no_redirects;
}

/* Turns hop into the next one. */
static int redirect_follow(struct arena *arena, struct hop *hop, struct err *err)
{
    const struct http_head *head = &hop->exchange->head;
    struct url from = hop->url;
    if (!head->has_location)
        return err_set(err, ERR_PRECONDITION, "HTTP protocol error: status %d without a Location",
                       head->response.status);
    const char *target = http_redirect_target(arena, hop->text, head->location, &hop->url, err);
    if (!target)
        return -1;
    if (strcmp(target, hop->text) == 0)
        return err_set(err, ERR_PRECONDITION, "the server redirects in a loop");
    hop->text = target;
    if (!http_same_origin(&from, &hop->url))
        hop->drops_credentials = true;
    hop->refusal = NULL;
    hop->had_socket = false;
    return 0;
}

static int hops_perform(struct arena *arena, struct hop *hop, struct err *err)
{
    unsigned max = hop->http->limits.redirects_max;
    for (unsigned hops = 0;; hops++) {
        if (hop_perform(hop, err) != 0)
            return hops > 0 ? err_prefix(err, "after %u redirects", hops) : -1;
        if (!is_redirect(hop->exchange))
            return 0;
        if (hops == max)
            return err_set(err, ERR_PRECONDITION, "the server redirects more than %u times", max);
        if (redirect_follow(arena, hop, err) != 0)
            return -1;
    }
}

static int request_check(const struct http_request *request, struct err *err)
{
    assert(!request->body || request->no_redirects);
    for (size_t i = 0; i < request->header_count; i++) {
        for (const char *p = request->headers[i].value; *p; p++) {
            if ((unsigned char)*p < ' ' || *p == 0x7f)
                return err_set(err, ERR_INVALID, "the header %s would hold a control character",
                               request->headers[i].name);
        }
    }
    return 0;
}

int http_perform(struct http *http, const struct http_request *request, http_sink sink, void *context,
                 struct http_response *out, const atomic_bool *cancel, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct http_exchange exchange = {.request = request, .sink = sink, .context = context, .cancel = cancel};
    struct hop hop = {.http = http, .exchange = &exchange, .text = request->url};
    http->retry_after_s = -1;
    if (request_check(request, err) != 0 || url_parse(arena, request->url, strlen(request->url), &hop.url, err) != 0)
        return -1;
    if (hop.url.port == 0)
        return err_set(err, ERR_INVALID, "not a URL of http or https");
    if (hops_perform(arena, &hop, err) != 0)
        return -1;
    *out = exchange.head.response;
    if (request->error_body)
        str_append(request->error_body, exchange.error_body, exchange.error_body_len);
    out->credentials_dropped = hop.drops_credentials;
    return 0;
}
