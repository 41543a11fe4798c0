/* The node's own identity: the metadata server of Compute Engine and GKE. */
#include "cachecore/credential_google.h"

/* Google's server says who it is, as it wants to be asked: nobody else's answer counts. */
static int node_parse(const struct credential_answer *answer, int64_t now_s, struct arena *arena,
                      struct google_token *out, struct err *err)
{
    if (!answer->is_google_metadata)
        return err_set(err, ERR_PRECONDITION,
                       "the answer does not say 'Metadata-Flavor: Google': this is no such node");
    return google_token_parse(answer, now_s, arena, out, err);
}

int google_node_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    static const struct google_hint hints[] = {{NULL, NULL}};
    static const struct http_header headers[] = {{"Metadata-Flavor", "Google", false}};
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct google_token token;
    const struct credential_question question = {
        .request = request,
        .service = "Google metadata",
        .method = "GET",
        .url = google_url(arena, request->class->google_metadata_endpoint, "http://169.254.169.254",
                          "/computeMetadata/v1/instance/service-accounts/default/token"),
        .headers = headers,
        .header_count = 1,
        .is_metadata = true};
    if (google_ask(&question, hints, node_parse, &token, arena, err) != 0)
        return err_prefix(err, "the node's own identity (class parameter 'nodeIdentity')");
    *out = google_bearer(&token, "the node's service account");
    return 0;
}
