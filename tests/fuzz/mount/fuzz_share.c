/* Four lines: type, share, sub path, mount options. What is accepted must hold nothing that mount(2) could misread. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "mount/share.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plan(const struct share_plan *plan)
{
    assert(plan->type && plan->options && plan->sub_path && plan->identity);
    assert(!plan->source || !strpbrk(plan->source, ",\\\"' \t\n"));
    assert(!strpbrk(plan->options, "\\\"' \t\n") && !strstr(plan->options, ",,"));
    for (const char *name = plan->options; name; name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL) {
        assert(strncmp(name, "pass", 4) != 0 && strncmp(name, "cred", 4) != 0 && strncmp(name, "context=", 8) != 0);
        assert(strncmp(name, "sec=krb5", 8) != 0 && strncmp(name, "exec,", 5) != 0);
    }
    assert(plan->sub_path[0] != '/' && !strstr(plan->sub_path, "/../") && strncmp(plan->sub_path, "../", 3) != 0);
    if (plan->is_local) {
        assert(!plan->fstype && !plan->host);
        return;
    }
    assert(plan->host[0] && plan->host[0] != '-' && strstr(plan->options, "nosuid") && strstr(plan->options, "nodev") &&
           strstr(plan->options, "noexec"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    char *line = arena_strndup(arena, (const char *)data, size);
    const char *lines[4] = {"", "", "", ""};
    for (size_t i = 0; i < 4 && line; i++) {
        lines[i] = line;
        char *end = i < 3 ? strchr(line, '\n') : NULL;
        if (end)
            *end = '\0';
        line = end ? end + 1 : NULL;
    }
    struct share_spec spec = {.type = lines[0], .share = lines[1], .sub_path = lines[2], .mount_options = lines[3]};
    struct share_plan plan;
    if (share_plan_make(arena, &spec, &plan, &err) == 0)
        check_plan(&plan);
    else
        assert(err.code == ERR_INVALID || err.code == ERR_UNSUPPORTED);
    return 0;
}
