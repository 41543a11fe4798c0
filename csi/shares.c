#include "csi/shares.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/share_login.h"

/* Row 65 of the table of faults: a server that does not answer is told of within ten seconds. */
#define SHARE_OPEN_MS 9000
#define PROBE_MS 10000

struct use {
    struct use *next;
    char *key;
    char *user;
};

struct known_form {
    struct known_form *next;
    char *key;
    enum view_form form;
};

struct shares {
    struct shares_config config;
    char *secrets_dir;
    int probe_fd;
    struct {
        pthread_mutex_t mutex;
        struct use *uses;
        struct known_form *forms; /* "" is the node's own store */
    } locked;
};

void opened_store_deinit(struct opened_store *store)
{
    if (store->root_fd >= 0)
        close(store->root_fd);
    if (store->objects_fd >= 0)
        close(store->objects_fd);
    *store = (struct opened_store)OPENED_STORE_INIT;
}

struct shares *shares_new(const struct shares_config *config, struct err *err)
{
    if (fs_mkdir(config->state_fd, "store", 0755, err) != 0 || fs_mkdir(config->state_fd, "probe", 0700, err) != 0)
        return NULL;
    if (fchownat(config->state_fd, "store", config->store_uid, config->store_uid, AT_SYMLINK_NOFOLLOW) != 0) {
        err_set_errno(err, ERR_NONE, errno, "cannot give the node's store to uid %u", (unsigned)config->store_uid);
        return NULL;
    }
    struct shares *shares = mem_alloc(sizeof(*shares));
    shares->config = *config;
    shares->secrets_dir = config->secrets_dir ? mem_strdup(config->secrets_dir) : NULL;
    shares->probe_fd = fs_open_beneath(config->state_fd, "probe", O_RDONLY | O_DIRECTORY, 0);
    pthread_mutex_init(&shares->locked.mutex, NULL);
    if (shares->probe_fd < 0) {
        err_set_errno(err, ERR_NONE, errno, "cannot open directory 'probe'");
        shares_free(shares);
        return NULL;
    }
    return shares;
}

static void use_free(struct use *use)
{
    free(use->key);
    free(use->user);
    free(use);
}

void shares_free(struct shares *shares)
{
    if (!shares)
        return;
    while (shares->locked.uses) {
        struct use *use = shares->locked.uses;
        shares->locked.uses = use->next;
        use_free(use);
    }
    while (shares->locked.forms) {
        struct known_form *form = shares->locked.forms;
        shares->locked.forms = form->next;
        free(form->key);
        free(form);
    }
    closep(&shares->probe_fd);
    free(shares->secrets_dir);
    pthread_mutex_destroy(&shares->locked.mutex);
    free(shares);
}

void shares_use(struct shares *shares, const char *key, const char *user)
{
    pthread_mutex_lock(&shares->locked.mutex);
    struct use *use = shares->locked.uses;
    while (use && (strcmp(use->key, key) != 0 || strcmp(use->user, user) != 0))
        use = use->next;
    if (!use) {
        use = mem_alloc(sizeof(*use));
        *use = (struct use){shares->locked.uses, mem_strdup(key), mem_strdup(user)};
        shares->locked.uses = use;
    }
    pthread_mutex_unlock(&shares->locked.mutex);
}

bool shares_is_used(struct shares *shares, const char *key)
{
    bool is_used = false;
    pthread_mutex_lock(&shares->locked.mutex);
    for (const struct use *use = shares->locked.uses; use; use = use->next)
        is_used = is_used || strcmp(use->key, key) == 0;
    pthread_mutex_unlock(&shares->locked.mutex);
    return is_used;
}

/* Takes one of the user's uses out; NULL when there is none. */
static struct use *take_use(struct shares *shares, const char *user)
{
    struct use *found = NULL;
    pthread_mutex_lock(&shares->locked.mutex);
    for (struct use **link = &shares->locked.uses; *link; link = &(*link)->next)
        if (strcmp((*link)->user, user) == 0) {
            found = *link;
            *link = found->next;
            break;
        }
    pthread_mutex_unlock(&shares->locked.mutex);
    return found;
}

static void forget_form(struct shares *shares, const char *key)
{
    pthread_mutex_lock(&shares->locked.mutex);
    for (struct known_form **link = &shares->locked.forms; *link; link = &(*link)->next)
        if (strcmp((*link)->key, key) == 0) {
            struct known_form *form = *link;
            *link = form->next;
            free(form->key);
            free(form);
            break;
        }
    pthread_mutex_unlock(&shares->locked.mutex);
}

static bool find_form(struct shares *shares, const char *key, enum view_form *out)
{
    bool found = false;
    pthread_mutex_lock(&shares->locked.mutex);
    for (const struct known_form *form = shares->locked.forms; form && !found; form = form->next)
        if (strcmp(form->key, key) == 0) {
            *out = form->form;
            found = true;
        }
    pthread_mutex_unlock(&shares->locked.mutex);
    return found;
}

static void know_form(struct shares *shares, const char *key, enum view_form value)
{
    struct known_form *form = mem_alloc(sizeof(*form));
    pthread_mutex_lock(&shares->locked.mutex);
    *form = (struct known_form){shares->locked.forms, mem_strdup(key), value};
    shares->locked.forms = form;
    pthread_mutex_unlock(&shares->locked.mutex);
}

/* Each store has a scratch directory of its own: a share that hangs keeps no other from being tried. */
static int learn_form(struct shares *shares, struct opened_store *store, struct err *err)
{
    if (find_form(shares, store->key, &store->form))
        return 0;
    const char *name = store->key[0] ? store->key : "node";
    if (fs_mkdir(shares->probe_fd, name, 0700, err) != 0)
        return -1;
    _cleanup_(closep) int scratch = fs_open_beneath(shares->probe_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (scratch < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the probe's directory");
    if (view_form_probe(shares->config.mounts, scratch, store->objects_fd, clock_monotonic_ms() + PROBE_MS,
                        &store->form, err) != 0)
        return err_prefix(err, "cannot try what the kernel can do over this store");
    know_form(shares, store->key, store->form);
    log_event(LOG_INFO, "view_form", "share", name, "form", view_form_name(store->form), NULL);
    return 0;
}

static int open_local(struct shares *shares, struct opened_store *store, struct err *err)
{
    store->root_fd = fs_open_beneath(shares->config.state_fd, "store", O_RDONLY | O_DIRECTORY, 0);
    if (store->root_fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the node's store");
    if (fs_mkdir(store->root_fd, "objects", 0755, err) != 0)
        return -1;
    if (fchownat(store->root_fd, "objects", shares->config.store_uid, shares->config.store_uid, AT_SYMLINK_NOFOLLOW) !=
        0)
        return err_set_errno(err, ERR_NONE, errno, "cannot give the node's store away");
    store->objects_fd = fs_open_beneath(store->root_fd, "objects", O_RDONLY | O_DIRECTORY, 0);
    if (store->objects_fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the node's store");
    store->writable = true;
    return learn_form(shares, store, err);
}

int shares_open_local(struct shares *shares, struct opened_store *out, struct err *err)
{
    struct opened_store store = OPENED_STORE_INIT;
    struct guard_wait wait = {.deadline_ms = clock_monotonic_ms() + PROBE_MS, .cancel_fd = -1};
    _cleanup_(guard_releasep) struct guard *guard = guard_take(shares->config.guards, "share/", &wait, err);
    if (!guard || open_local(shares, &store, err) != 0) {
        opened_store_deinit(&store);
        return -1;
    }
    *out = store;
    return 0;
}

int shares_key(const struct class *class, struct arena *arena, struct share_plan *plan, char key[RECORD_SHARE_MAX + 1],
               struct err *err)
{
    struct share_spec spec = {class->share_type, class->share, class->sub_path, class->mount_options};
    char digest[SHA256_HEX];
    if (share_plan_make(arena, &spec, plan, err) != 0)
        return -1;
    const char *text = arena_printf(arena, "%s\n%s", plan->identity, class->share_secret ? class->share_secret : "");
    digest_sha256_hex(text, strlen(text), digest);
    snprintf(key, RECORD_SHARE_MAX + 1, "%.16s-%.24s", plan->type, digest);
    return 0;
}

static int read_login(struct shares *shares, const struct class *class, const struct share_plan *plan,
                      struct login *out, struct err *err)
{
    if (!plan->wants_password)
        return 0;
    if (!class->share_secret)
        return err_set(err, ERR_PRECONDITION, "a share of type %s needs a shareSecret in its class", plan->type);
    return share_login_read(shares->secrets_dir, class->share_secret, out, err);
}

static void log_opened(const struct opened_store *store, unsigned read_ahead_kb)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", read_ahead_kb);
    log_event(LOG_DEBUG, "share_open", "share", store->key, "writable", store->writable ? "yes" : "no", "read_ahead_kb",
              read_ahead_kb ? text : NULL, NULL);
}

static int open_share(struct shares *shares, const struct class *class, const struct share_plan *plan,
                      int64_t deadline_ms, struct opened_store *store, struct err *err)
{
    _cleanup_(share_login_deinitp) struct login login = {NULL, NULL};
    struct share_root root = {.fd = -1, .objects_fd = -1};
    if (read_login(shares, class, plan, &login, err) != 0)
        return -1;
    struct share_login borrowed = {login.username, login.password};
    if (mounts_share_open(shares->config.mounts, store->key, plan, login.username ? &borrowed : NULL,
                          shares->config.store_uid, deadline_ms, &root, err) != 0)
        return -1;
    store->root_fd = root.fd;
    store->objects_fd = root.objects_fd;
    store->writable = root.writable;
    log_opened(store, root.read_ahead_kb);
    return learn_form(shares, store, err);
}

int shares_open(struct shares *shares, const struct class *class, const char *user, int64_t deadline_ms,
                struct opened_store *out, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct opened_store store = OPENED_STORE_INIT;
    struct share_plan plan;
    if (!class->share)
        return shares_open_local(shares, out, err);
    if (shares_key(class, arena, &plan, store.key, err) != 0)
        return -1;
    shares_use(shares, store.key, user);
    int64_t soon_ms = clock_monotonic_ms() + SHARE_OPEN_MS;
    if (soon_ms > deadline_ms)
        soon_ms = deadline_ms;
    struct guard_wait wait = {.deadline_ms = soon_ms, .cancel_fd = -1};
    _cleanup_(guard_releasep) struct guard *guard =
        guard_take(shares->config.guards, arena_printf(arena, "share/%s", store.key), &wait, err);
    if (!guard || open_share(shares, class, &plan, soon_ms, &store, err) != 0) {
        opened_store_deinit(&store);
        return -1;
    }
    *out = store;
    return 0;
}

/* Whoever holds the share's guard is a user of it, or is closing it: there is nothing left to do then. */
static int close_unused(struct shares *shares, const char *key, int64_t deadline_ms, struct err *err)
{
    char name[RECORD_SHARE_MAX + 16];
    struct guard_wait wait = {.deadline_ms = clock_monotonic_ms(), .cancel_fd = -1};
    struct err busy = ERR_INIT;
    snprintf(name, sizeof(name), "share/%s", key);
    _cleanup_(guard_releasep) struct guard *guard = guard_take(shares->config.guards, name, &wait, &busy);
    if (!guard || shares_is_used(shares, key))
        return 0;
    forget_form(shares, key);
    return mounts_share_close(shares->config.mounts, key, deadline_ms, err);
}

int shares_release(struct shares *shares, const char *user, int64_t deadline_ms, struct err *err)
{
    int failed = 0;
    for (struct use *use = take_use(shares, user); use; use = take_use(shares, user)) {
        struct err cause = ERR_INIT;
        if (use->key[0] && close_unused(shares, use->key, deadline_ms, &cause) != 0 && !failed) {
            *err = cause;
            failed = -1;
        }
        use_free(use);
    }
    return failed;
}
