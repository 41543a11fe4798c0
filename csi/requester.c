#include "csi/requester.h"

#include <stdio.h>
#include <string.h>

static size_t roles_given(const struct volume_attributes *attributes)
{
    size_t count = 0;
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        count += attributes->roles[i] != NULL;
    return count;
}

/* Only tokens make somebody of an annotation. */
static bool needs_account(const struct service_accounts *accounts, const struct publish_request *request)
{
    return accounts && request->tokens.count > 0 && request->pod_namespace[0] && request->service_account[0] &&
           roles_given(&request->attributes) < IDENTITY_ROLES;
}

int requester_find(struct service_accounts *accounts, const struct publish_request *request, struct arena *arena,
                   struct requester *out, struct err *err)
{
    const struct service_account_key key = {request->pod_namespace, request->service_account};
    struct service_account account = {.note = NULL};
    struct err why = ERR_INIT;
    if (needs_account(accounts, request) && service_account_get(accounts, &key, arena, &account, &why) != 0) {
        if (roles_given(&request->attributes) == 0) {
            *err = why;
            return -1;
        }
        account.note = arena_strdup(arena, why.message);
    }
    *out =
        (struct requester){.facts = {.namespace = request->pod_namespace, .service_account = request->service_account},
                           .note = account.note};
    for (size_t i = 0; i < IDENTITY_ROLES; i++) {
        const char *attribute = request->attributes.roles[i];
        *identity_role_in(&out->facts, (enum identity_role)i) = attribute ? attribute : account.roles[i];
    }
    return 0;
}

void requester_explain(const struct requester *requester, struct err *err)
{
    size_t len = strlen(err->message);
    bool is_refusal = err->code == ERR_DENIED || err->code == ERR_UNAUTHENTICATED;
    if (!is_refusal || !requester->note || len + 3 >= sizeof(err->message))
        return;
    snprintf(err->message + len, sizeof(err->message) - len, " (%s)", requester->note);
}
