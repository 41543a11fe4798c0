#include "cachecore/source.h"

#include <inttypes.h>
#include <string.h>

/* What a code of S3 or Azure means; it says more than the status. */
static const struct {
    const char *code;
    enum err_code err;
    const char *text;
} codes[] = {
    {"NoSuchKey", ERR_NOT_FOUND, "no such object"},
    {"NoSuchVersion", ERR_NOT_FOUND, "no such version of the object"},
    {"NoSuchBucket", ERR_NOT_FOUND, "no such bucket"},
    {"AccessDenied", ERR_DENIED, "this identity may not read the object (or there is none, and it may not list)"},
    {"AllAccessDisabled", ERR_DENIED, "all access to the bucket is disabled"},
    {"AccountProblem", ERR_DENIED, "the bucket's account has a problem"},
    {"MethodNotAllowed", ERR_NOT_FOUND, "this version is a delete marker"},
    {"InvalidObjectState", ERR_PRECONDITION, "the object is archived: restore it to a readable storage class first"},
    {"SignatureDoesNotMatch", ERR_UNAUTHENTICATED, "the signature is wrong: check the secret access key"},
    {"InvalidAccessKeyId", ERR_UNAUTHENTICATED, "the access key id is not known to the server"},
    {"ExpiredToken", ERR_UNAUTHENTICATED, "the session token has expired"},
    {"TokenRefreshRequired", ERR_UNAUTHENTICATED, "the session token must be refreshed"},
    {"InvalidToken", ERR_UNAUTHENTICATED, "the session token is not valid"},
    {"InvalidSecurity", ERR_UNAUTHENTICATED, "the credentials are not valid"},
    {"RequestTimeTooSkewed", ERR_PRECONDITION, "this node's clock and the server's differ too much: set the clock"},
    {"PermanentRedirect", ERR_PRECONDITION, "the bucket is in another region: set the class's s3Region"},
    {"TemporaryRedirect", ERR_UNAVAILABLE, "the bucket is on its way to another region"},
    {"AuthorizationHeaderMalformed", ERR_PRECONDITION, "the bucket is in another region: set the class's s3Region"},
    {"IllegalLocationConstraintException", ERR_PRECONDITION,
     "the bucket is in another region: set the class's s3Region"},
    {"InvalidRequest", ERR_PRECONDITION,
     "the server refuses the request: an object that is encrypted with its author's own key (SSE-C) cannot be read"},
    {"InvalidArgument", ERR_INVALID, "the server refuses an argument, such as a versionId that is none"},
    {"InvalidPayer", ERR_DENIED, "all access to this object is disabled"},
    {"InvalidAccessPointAliasError", ERR_INVALID, "the access point's alias is not valid"},
    {"NoSuchAccessPoint", ERR_NOT_FOUND, "no such access point"},
    {"NotSignedUp", ERR_DENIED, "the account is not signed up for this service"},
    {"UnauthorizedAccess", ERR_DENIED, "this account may not use the partition that the bucket is in"},
    {"KMS.DisabledException", ERR_PRECONDITION, "the key that the object is encrypted with is disabled"},
    {"KMS.KMSInvalidStateException", ERR_PRECONDITION, "the key that the object is encrypted with cannot be used now"},
    {"KMS.NotFoundException", ERR_PRECONDITION, "the key that the object is encrypted with is gone"},
    {"InvalidBucketName", ERR_INVALID, "the bucket's name is not valid"},
    {"UserProjectMissing", ERR_PRECONDITION, "the bucket is one where the requester pays, which is not supported"},
    {"UserProjectAccountProblem", ERR_PRECONDITION, "the billing account of the bucket's project has a problem"},
    {"SlowDown", ERR_UNAVAILABLE, "the server asks for fewer requests"},
    {"RequestTimeout", ERR_UNAVAILABLE, "the request took the server too long"},
    {"ServiceUnavailable", ERR_UNAVAILABLE, "the server is not available"},
    {"InternalError", ERR_UNAVAILABLE, "an error inside the server"},
    /* Azure: */
    {"BlobNotFound", ERR_NOT_FOUND, "no such blob"},
    {"ContainerNotFound", ERR_NOT_FOUND, "no such container"},
    {"ContainerBeingDeleted", ERR_NOT_FOUND, "the container is being deleted"},
    {"ContainerDisabled", ERR_DENIED, "the container is disabled"},
    {"ResourceNotFound", ERR_NOT_FOUND, "no such storage account, container or blob, or none that is public"},
    {"BlobArchived", ERR_PRECONDITION,
     "the blob is in the archive tier: rehydrate it to the hot, cool or cold tier first"},
    {"BlobBeingRehydrated", ERR_PRECONDITION, "the blob is on its way out of the archive tier: try again later"},
    {"NoAuthenticationInformation", ERR_UNAUTHENTICATED, "the server wants credentials, and got none"},
    {"InvalidAuthenticationInfo", ERR_UNAUTHENTICATED, "the credentials are not valid, or the token has expired"},
    {"AuthenticationFailed", ERR_UNAUTHENTICATED,
     "the account key, SAS or token is not valid or has expired, or this node's clock is wrong"},
    {"AuthorizationFailure", ERR_DENIED,
     "this identity may not read the blob, or the account's network rules do not let this node in"},
    {"AuthorizationPermissionMismatch", ERR_DENIED,
     "this identity lacks a role such as Storage Blob Data Reader, or the SAS the permission"},
    {"AuthorizationProtocolMismatch", ERR_DENIED, "the SAS is for another protocol"},
    {"AuthorizationResourceTypeMismatch", ERR_DENIED, "the SAS is for another type of resource"},
    {"AuthorizationServiceMismatch", ERR_DENIED, "the SAS is for another service"},
    {"AuthorizationSourceIPMismatch", ERR_DENIED, "the SAS does not allow this node's address"},
    {"KeyBasedAuthenticationNotPermitted", ERR_DENIED,
     "the account takes no account keys: use a token, or let it take them"},
    {"PublicAccessNotPermitted", ERR_DENIED, "the account allows no public access: give credentials"},
    {"InsufficientAccountPermissions", ERR_DENIED, "the account may not do this"},
    {"AccountIsDisabled", ERR_DENIED, "the storage account is disabled"},
    {"InvalidResourceName", ERR_INVALID, "the container's or blob's name is not valid"},
    {"ServerBusy", ERR_UNAVAILABLE, "the server asks for fewer requests"},
    {"OperationTimedOut", ERR_UNAVAILABLE, "the request took the server too long"},
};

static const struct {
    int from, to;
    enum err_code err;
    const char *text;
} statuses[] = {
    {401, 401, ERR_UNAUTHENTICATED, "the server wants other credentials than it got"},
    {403, 403, ERR_DENIED, "this identity may not read the object"},
    {404, 404, ERR_NOT_FOUND, "no such object"},
    {407, 407, ERR_PRECONDITION, "the class's proxy wants credentials"},
    {408, 408, ERR_UNAVAILABLE, "the request took the server too long"},
    {410, 410, ERR_NOT_FOUND, "the object is gone"},
    {412, 412, ERR_PRECONDITION, "the object is no longer the version that was resolved"},
    {416, 416, ERR_PRECONDITION, "the object no longer has the bytes that were asked for"},
    {421, 421, ERR_UNAVAILABLE, "the server does not answer for this host"},
    {425, 425, ERR_UNAVAILABLE, "the server asks to try later"},
    {429, 429, ERR_UNAVAILABLE, "the server asks for fewer requests"},
    {451, 451, ERR_DENIED, "withheld for legal reasons"},
    {400, 499, ERR_PRECONDITION, "the server refuses the request"},
    {500, 599, ERR_UNAVAILABLE, "the server has a problem"},
    {300, 399, ERR_PRECONDITION,
     "HTTP protocol error: a redirect that cannot be followed, or an answer to no condition"},
    {100, 299, ERR_PRECONDITION, "HTTP protocol error: not what was asked for"},
};

static int code_error(const struct http_response *response, struct err *err)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strcmp(codes[i].code, response->error_code) == 0)
            return err_set(err, response->status == 401 ? ERR_UNAUTHENTICATED : codes[i].err, "HTTP %d %s: %s",
                           response->status, codes[i].code, codes[i].text);
    }
    return 0;
}

static int status_error(const struct http_response *response, struct err *err)
{
    const char *space = response->error_code[0] ? " " : "";
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (response->status >= statuses[i].from && response->status <= statuses[i].to)
            return err_set(err, statuses[i].err, "HTTP %d%s%s: %s", response->status, space, response->error_code,
                           statuses[i].text);
    }
    return err_set(err, ERR_PRECONDITION, "HTTP protocol error: status %d", response->status);
}

int source_status_error(const struct http_response *response, const char *display, struct err *err)
{
    (void)display; /* callers prefix what was asked for */
    bool refused = response->status == 401 || response->status == 403;
    if (refused && response->credentials_dropped)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "HTTP %d: a redirect led to another host, to which credentials are not sent", response->status);
    if (code_error(response, err) == 0)
        status_error(response, err);
    if (err->code == ERR_UNAVAILABLE && response->retry_after_s > 0)
        return err_set(err, ERR_UNAVAILABLE, "HTTP %d: the server asks to wait %" PRId64 " s", response->status,
                       response->retry_after_s);
    return -1;
}
