/*
 * Credentials that are kept: how often a chain is asked, by whom, and who gets what it says. The chain is a script, and so are the clocks:
 * this program has them in place of base/clock.c. Meant for the thread sanitizer, too.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cachecore/credential_cache.h"

#define THREADS 64u

/* --- clocks --- */

static _Atomic int64_t ahead_ms;

int64_t clock_monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + atomic_load(&ahead_ms);
}

int64_t clock_wall_s(void)
{
    return 1780000000;
}

/* --- the chain --- */

static struct {
    atomic_uint finds;
    atomic_uint callers; /* that have come as far as to ask the cache */
    unsigned callers_awaited;
    atomic_int life_s; /* 0: no end */
    atomic_int kind;
    atomic_int fails; /* enum err_code */
    atomic_bool hangs;
    unsigned hangs_at; /* which find; 0: each */
    _Atomic(const char *) host;
} script;

static int script_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    unsigned number = atomic_fetch_add(&script.finds, 1) + 1;
    while (atomic_load(&script.callers) < script.callers_awaited)
        sched_yield();
    while (atomic_load(&script.hangs) && (script.hangs_at == 0 || script.hangs_at == number)) {
        if (request->cancel && atomic_load(request->cancel))
            return err_set(err, ERR_CANCELLED, "cancelled");
        sched_yield();
    }
    if (atomic_load(&script.fails))
        return err_set(err, (enum err_code)atomic_load(&script.fails), "answer %u", number);
    atomic_store(&script.host, request->host ? request->host : "any");
    *out = credentials_new((enum credentials_kind)atomic_load(&script.kind), "script");
    credentials_header(*out, "Number", (char[]){(char)('0' + number % 10), '\0'}, 1);
    (*out)->expires_s = atomic_load(&script.life_s) ? clock_wall_s() + atomic_load(&script.life_s) : 0;
    return 0;
}

static const struct credential_chain chain = {"script", script_find, false};
static const struct credential_chain other_chain = {"other", script_find, false};
static const struct credential_chain hostless_chain = {"hostless", script_find, true};

static struct class class;

static int setup(void **state)
{
    (void)state;
    class_default(&class);
    atomic_store(&script.finds, 0);
    atomic_store(&script.callers, 0);
    script.callers_awaited = 0;
    atomic_store(&script.life_s, 3600);
    atomic_store(&script.kind, CREDENTIALS_HEADERS);
    atomic_store(&script.fails, ERR_NONE);
    atomic_store(&script.hangs, false);
    script.hangs_at = 0;
    return 0;
}

/* One that no other test has. */
static struct identity *identity_make(const char *token)
{
    static unsigned count;
    char name[32];
    struct secret_map tokens = SECRET_MAP_INIT;
    snprintf(name, sizeof(name), "account-%u", count++);
    const struct identity_facts facts = {
        .namespace = "ml", .service_account = name, .aws_role_arn = token ? NULL : name};
    if (token)
        secret_map_add(&tokens, token, token, strlen(token));
    struct identity *identity = identity_new(&facts, NULL, &tokens);
    secret_map_deinit(&tokens);
    return identity;
}

static struct credentials *get(struct identity *identity)
{
    struct credentials *found = NULL;
    struct err err = ERR_INIT;
    if (credential_cache_get(&chain, &class, identity, "h", NULL, &found, &err) != 0)
        fail_msg("%s", err.message);
    return found;
}

static void get_and_forget(struct identity *identity)
{
    credentials_unref(get(identity));
}

static void get_fails(struct identity *identity, enum err_code code, const char *message)
{
    struct credentials *found = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(credential_cache_get(&chain, &class, identity, "h", NULL, &found, &err), -1);
    assert_int_equal(err.code, code);
    assert_string_equal(err.message, message);
}

static void finds_are(unsigned count)
{
    assert_int_equal(atomic_load(&script.finds), count);
}

/* --- threads that want the same --- */

struct caller {
    struct identity *identity;
    struct credentials *found;
    struct err err;
    atomic_bool cancel;
    int result;
    pthread_t thread;
};

static void *caller_run(void *argument)
{
    struct caller *caller = argument;
    atomic_fetch_add(&script.callers, 1);
    caller->result =
        credential_cache_get(&chain, &class, caller->identity, "h", &caller->cancel, &caller->found, &caller->err);
    return NULL;
}

static void callers_start(struct caller *callers, size_t count, struct identity *identity)
{
    for (size_t i = 0; i < count; i++) {
        callers[i] = (struct caller){.identity = identity};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_run, &callers[i]), 0);
    }
}

static void callers_join(struct caller *callers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pthread_join(callers[i].thread, NULL);
}

static void many_who_want_the_same_ask_once(void **state)
{
    (void)state;
    static struct caller callers[THREADS];
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    script.callers_awaited = THREADS;
    callers_start(callers, THREADS, identity);
    callers_join(callers, THREADS);
    finds_are(1);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(callers[i].result, 0);
        assert_ptr_equal(callers[i].found, callers[0].found);
        assert_string_equal(secret_reveal(callers[i].found->headers[0].value), "1");
    }
    for (size_t i = 0; i < THREADS; i++)
        credentials_unref(callers[i].found);
}

/* Two hundred pods with a wrong role: one question, and everybody hears the answer. */
static void a_refusal_is_for_all_who_wait(void **state)
{
    (void)state;
    static struct caller callers[THREADS];
    static const enum err_code codes[] = {ERR_DENIED, ERR_UNAUTHENTICATED};
    for (size_t k = 0; k < 2; k++) {
        _cleanup_(identity_freep) struct identity *identity = identity_make("token");
        setup(NULL);
        atomic_store(&script.fails, codes[k]);
        script.callers_awaited = THREADS;
        callers_start(callers, THREADS, identity);
        callers_join(callers, THREADS);
        finds_are(1);
        for (size_t i = 0; i < THREADS; i++) {
            assert_int_equal(callers[i].result, -1);
            assert_string_equal(callers[i].err.message, "answer 1");
        }
    }
}

static void a_refusal_is_kept_for_a_moment(void **state)
{
    (void)state;
    _cleanup_(identity_freep) struct identity *identity = identity_make("token");
    atomic_store(&script.fails, ERR_DENIED);
    get_fails(identity, ERR_DENIED, "answer 1");
    get_fails(identity, ERR_DENIED, "answer 1");
    finds_are(1);
    atomic_fetch_add(&ahead_ms, CREDENTIAL_REFUSAL_MS);
    get_fails(identity, ERR_DENIED, "answer 2");
    atomic_store(&script.fails, ERR_NONE);
    atomic_fetch_add(&ahead_ms, CREDENTIAL_REFUSAL_MS);
    get_and_forget(identity);
    finds_are(3);
}

/* The same account, the next token: the old one's refusal says nothing about it. */
static void a_new_token_is_shown_at_once(void **state)
{
    (void)state;
    /* header.claims.signature: {"alg":"a"}, {"iss":"i","sub":"s","aud":"a"} */
    static const char *const tokens[] = {"eyJhbGciOiJhIn0.eyJpc3MiOiJpIiwic3ViIjoicyIsImF1ZCI6ImEifQ.b2xk",
                                         "eyJhbGciOiJhIn0.eyJpc3MiOiJpIiwic3ViIjoicyIsImF1ZCI6ImEifQ.bmV3"};
    static const struct identity_facts facts = {.namespace = "ml", .service_account = "rotated"};
    struct secret_map maps[2] = {SECRET_MAP_INIT, SECRET_MAP_INIT};
    for (size_t i = 0; i < 2; i++)
        secret_map_add(&maps[i], "a", tokens[i], strlen(tokens[i]));
    _cleanup_(identity_freep) struct identity *identity = identity_new(&facts, NULL, &maps[0]);
    atomic_store(&script.fails, ERR_UNAUTHENTICATED);
    get_fails(identity, ERR_UNAUTHENTICATED, "answer 1");
    identity_renew(identity, NULL, &maps[1]);
    atomic_store(&script.fails, ERR_NONE);
    get_and_forget(identity);
    finds_are(2);
    /* What was found with one token counts for the next one. */
    identity_renew(identity, NULL, &maps[0]);
    get_and_forget(identity);
    finds_are(2);
    secret_map_deinit(&maps[0]);
    secret_map_deinit(&maps[1]);
}

static void other_failures_are_not_kept(void **state)
{
    (void)state;
    static const enum err_code codes[] = {ERR_UNAVAILABLE, ERR_INVALID, ERR_PRECONDITION};
    for (size_t i = 0; i < 3; i++) {
        _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
        setup(NULL);
        atomic_store(&script.fails, codes[i]);
        get_fails(identity, codes[i], "answer 1");
        get_fails(identity, codes[i], "answer 2");
    }
}

static const struct {
    int life_s, asked_again_s;
} lives[] = {{3600, 3300}, {43200, 42900}, {1500, 1200}, {1000, 800}, {100, 80}, {5, 4}, {-3600, 8}};

static void credentials_are_kept_until_shortly_before_they_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
        setup(NULL);
        atomic_store(&script.life_s, lives[i].life_s);
        get_and_forget(identity);
        atomic_fetch_add(&ahead_ms, lives[i].asked_again_s * 1000 - 900);
        get_and_forget(identity);
        if (atomic_load(&script.finds) != 1)
            fail_msg("a life of %d s is over too early", lives[i].life_s);
        atomic_fetch_add(&ahead_ms, 900);
        get_and_forget(identity);
        finds_are(2);
    }
}

static void no_credentials_are_kept_for_a_while(void **state)
{
    (void)state;
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    atomic_store(&script.kind, CREDENTIALS_NONE);
    atomic_store(&script.life_s, 0);
    get_and_forget(identity);
    get_and_forget(identity);
    finds_are(1);
    atomic_fetch_add(&ahead_ms, CREDENTIAL_NOBODY_MS);
    get_and_forget(identity);
    finds_are(2);
}

/* Nothing of a secret stays, and nobody waits for it. */
static void a_secrets_own_are_made_anew(void **state)
{
    (void)state;
    static struct caller callers[2];
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    atomic_store(&script.life_s, 0);
    struct credentials *first = get(identity);
    struct credentials *second = get(identity);
    assert_ptr_not_equal(first, second);
    assert_int_equal(atomic_load(&first->references), 1);
    assert_int_equal(atomic_load(&second->references), 1);
    credentials_unref(first);
    credentials_unref(second);
    atomic_store(&script.hangs, true);
    callers_start(callers, 2, identity);
    while (atomic_load(&script.finds) < 4)
        sched_yield();
    atomic_store(&script.hangs, false);
    callers_join(callers, 2);
    credentials_unref(callers[0].found);
    credentials_unref(callers[1].found);
}

static void what_has_not_ended_outlives_a_dead_service(void **state)
{
    (void)state;
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    get_and_forget(identity);
    atomic_fetch_add(&ahead_ms, 3400 * 1000);
    atomic_store(&script.fails, ERR_UNAVAILABLE);
    get_and_forget(identity);
    get_and_forget(identity); /* and it is left in peace for a while */
    finds_are(2);
    atomic_fetch_add(&ahead_ms, 11 * 1000);
    get_and_forget(identity);
    finds_are(3);
    atomic_fetch_add(&ahead_ms, 200 * 1000);
    get_fails(identity, ERR_UNAVAILABLE, "answer 4");
}

static void others_go_on_while_one_renews(void **state)
{
    (void)state;
    static struct caller callers[1];
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    get_and_forget(identity);
    atomic_fetch_add(&ahead_ms, 3400 * 1000);
    atomic_store(&script.hangs, true);
    callers_start(callers, 1, identity);
    while (atomic_load(&script.finds) < 2)
        sched_yield();
    _cleanup_(credentials_unrefp) struct credentials *old = get(identity);
    assert_string_equal(secret_reveal(old->headers[0].value), "1");
    atomic_store(&script.hangs, false);
    callers_join(callers, 1);
    assert_string_equal(secret_reveal(callers[0].found->headers[0].value), "2");
    credentials_unref(callers[0].found);
}

static void who_waits_takes_over_from_who_is_cancelled(void **state)
{
    (void)state;
    static struct caller callers[3];
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    atomic_store(&script.hangs, true);
    callers_start(callers, 1, identity);
    while (atomic_load(&script.finds) < 1)
        sched_yield();
    callers_start(callers + 1, 2, identity);
    while (atomic_load(&script.callers) < 3)
        sched_yield();
    atomic_store(&callers[2].cancel, true);
    pthread_join(callers[2].thread, NULL);
    assert_int_equal(callers[2].err.code, ERR_CANCELLED);
    finds_are(1);
    atomic_store(&callers[0].cancel, true);
    pthread_join(callers[0].thread, NULL);
    assert_int_equal(callers[0].err.code, ERR_CANCELLED);
    atomic_store(&script.hangs, false);
    pthread_join(callers[1].thread, NULL);
    assert_int_equal(callers[1].result, 0);
    finds_are(2);
    credentials_unref(callers[1].found);
}

static void what_is_dropped_is_looked_up_anew_once(void **state)
{
    (void)state;
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    struct credentials *old = get(identity);
    credential_cache_drop(old);
    struct credentials *new = get(identity);
    assert_ptr_not_equal(old, new);
    credential_cache_drop(old); /* somebody else, later */
    get_and_forget(identity);
    finds_are(2);
    credentials_unref(old);
    credentials_unref(new);
}

/* --- what tells one from the other --- */

static void expect_finds(const struct credential_chain *asked, const struct class *of, struct identity *identity,
                         const char *host, unsigned count)
{
    struct credentials *found = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(credential_cache_get(asked, of, identity, host, NULL, &found, &err), 0);
    credentials_unref(found);
    finds_are(count);
}

static void chains_hosts_and_identities_do_not_mix(void **state)
{
    (void)state;
    _cleanup_(identity_freep) struct identity *one = identity_make(NULL);
    _cleanup_(identity_freep) struct identity *two = identity_make(NULL);
    expect_finds(&chain, &class, one, "a", 1);
    expect_finds(&chain, &class, one, "b", 2);
    assert_string_equal(atomic_load(&script.host), "b");
    expect_finds(&chain, &class, one, NULL, 3);
    expect_finds(&chain, &class, one, "", 4);
    expect_finds(&other_chain, &class, one, "a", 5);
    expect_finds(&chain, &class, two, "a", 6);
    expect_finds(&hostless_chain, &class, one, "a", 7);
    assert_string_equal(atomic_load(&script.host), "any");
    expect_finds(&hostless_chain, &class, one, "b", 7);
    expect_finds(&chain, &class, one, "a", 7);
}

#define TEXT(field) offsetof(struct class, field)

static void all_that_chains_look_at_in_a_class_counts(void **state)
{
    (void)state;
    static const size_t texts[] = {
        TEXT(allowed_addresses),
        TEXT(ca_bundle),
        TEXT(proxy),
        TEXT(s3_endpoint),
        TEXT(s3_region),
        TEXT(aws_role_arn),
        TEXT(google_service_account),
        TEXT(azure_client_id),
        TEXT(azure_tenant_id),
        TEXT(google_provider),
        TEXT(gcs_endpoint),
        TEXT(azure_endpoint),
        TEXT(aws_sts_endpoint),
        TEXT(aws_pod_identity_endpoint),
        TEXT(aws_metadata_endpoint),
        TEXT(google_sts_endpoint),
        TEXT(google_iam_endpoint),
        TEXT(google_token_endpoint),
        TEXT(google_metadata_endpoint),
        TEXT(azure_authority),
        TEXT(azure_metadata_endpoint),
    };
    _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
    unsigned count = 1;
    expect_finds(&chain, &class, identity, "h", count);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct class changed = class;
        *(const char **)(void *)((char *)&changed + texts[i]) = "x";
        expect_finds(&chain, &changed, identity, "h", ++count);
        expect_finds(&chain, &changed, identity, "h", count);
    }
    struct class node = class;
    node.node_identity = true;
    expect_finds(&chain, &node, identity, "h", ++count);
    struct class renamed = class;
    renamed.name = "another";
    renamed.max_files = 7;
    expect_finds(&chain, &renamed, identity, "h", count);
}

static void it_is_bounded(void **state)
{
    (void)state;
    _cleanup_(identity_freep) struct identity *first = identity_make(NULL);
    _cleanup_(identity_freep) struct identity *used = identity_make(NULL);
    get_and_forget(first);
    get_and_forget(used);
    for (unsigned i = 0; i < CREDENTIAL_CACHE_MAX - 1; i++) {
        _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
        get_and_forget(identity);
        if (i % 1000 == 0)
            get_and_forget(used);
    }
    finds_are(CREDENTIAL_CACHE_MAX + 1);
    get_and_forget(used);
    finds_are(CREDENTIAL_CACHE_MAX + 1);
    get_and_forget(first);
    finds_are(CREDENTIAL_CACHE_MAX + 2);
}

/* Others by the thousand push nobody out who still waits for an answer. */
static void who_waits_stays(void **state)
{
    (void)state;
    static struct caller callers[1];
    _cleanup_(identity_freep) struct identity *waits = identity_make(NULL);
    atomic_store(&script.hangs, true);
    script.hangs_at = 1;
    callers_start(callers, 1, waits);
    while (atomic_load(&script.finds) < 1)
        sched_yield();
    for (unsigned i = 0; i < CREDENTIAL_CACHE_MAX + 10; i++) {
        _cleanup_(identity_freep) struct identity *identity = identity_make(NULL);
        get_and_forget(identity);
    }
    atomic_store(&script.hangs, false);
    callers_join(callers, 1);
    credentials_unref(callers[0].found);
    get_and_forget(waits);
    finds_are(CREDENTIAL_CACHE_MAX + 11);
}

/* --- all of it at once, for the sanitizers --- */

static void *storm_run(void *argument)
{
    struct identity *const *identities = argument;
    for (unsigned i = 0; i < 300; i++) {
        struct credentials *found = NULL;
        struct err err = ERR_INIT;
        if (credential_cache_get(&chain, &class, identities[i % 4], "h", NULL, &found, &err) != 0)
            continue;
        if (i % 7 == 0)
            credential_cache_drop(found);
        if (i % 50 == 0)
            identity_renew(identities[i % 4], NULL, NULL);
        credentials_unref(found);
    }
    return NULL;
}

static void a_storm_leaves_all_in_order(void **state)
{
    (void)state;
    struct identity *identities[4];
    pthread_t threads[16];
    for (size_t i = 0; i < 4; i++)
        identities[i] = identity_make(i % 2 ? "token" : NULL);
    atomic_store(&script.life_s, 1);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm_run, identities), 0);
    for (unsigned i = 0; i < 100; i++) {
        atomic_store(&script.fails, i % 3 == 0 ? ERR_UNAVAILABLE : ERR_NONE);
        atomic_store(&script.life_s, i % 5 == 0 ? 0 : 1);
        atomic_fetch_add(&ahead_ms, 300);
        sched_yield();
    }
    atomic_store(&script.fails, ERR_NONE);
    for (size_t i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++) {
        get_and_forget(identities[i]);
        identity_free(identities[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(many_who_want_the_same_ask_once, setup),
        cmocka_unit_test_setup(a_refusal_is_for_all_who_wait, setup),
        cmocka_unit_test_setup(who_waits_takes_over_from_who_is_cancelled, setup),
        cmocka_unit_test_setup(a_refusal_is_kept_for_a_moment, setup),
        cmocka_unit_test_setup(a_new_token_is_shown_at_once, setup),
        cmocka_unit_test_setup(other_failures_are_not_kept, setup),
        cmocka_unit_test_setup(credentials_are_kept_until_shortly_before_they_end, setup),
        cmocka_unit_test_setup(no_credentials_are_kept_for_a_while, setup),
        cmocka_unit_test_setup(a_secrets_own_are_made_anew, setup),
        cmocka_unit_test_setup(what_has_not_ended_outlives_a_dead_service, setup),
        cmocka_unit_test_setup(others_go_on_while_one_renews, setup),
        cmocka_unit_test_setup(what_is_dropped_is_looked_up_anew_once, setup),
        cmocka_unit_test_setup(chains_hosts_and_identities_do_not_mix, setup),
        cmocka_unit_test_setup(all_that_chains_look_at_in_a_class_counts, setup),
        cmocka_unit_test_setup(it_is_bounded, setup),
        cmocka_unit_test_setup(who_waits_stays, setup),
        cmocka_unit_test_setup(a_storm_leaves_all_in_order, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
