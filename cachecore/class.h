/*
 * A class: what an admin's StorageClass says. Parsed from the JSON of a Kubernetes StorageClass object (storage.k8s.io/v1), as
 * the API returns it and as files of --class-dir hold it; or from the parameters alone (volume context of a claim). Pure.
 * Unknown parameters are errors that list the known ones; one table of parameters is the source of both.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "cachecore/digest.h"

#define CLASS_JSON_MAX (256u << 10)
#define CLASS_PERCENT (UINT64_C(1) << 63)

enum copy_policy { COPY_DIRECT, COPY_LOCAL };
enum authorize_rule { AUTHORIZE_PREFIX, AUTHORIZE_OBJECT };

struct class
{
    const char *name;
    const char *share_type;    /* "local" when not given */
    const char *share;         /* NULL: the node's own store (embedded default) */
    const char *sub_path;      /* "" */
    const char *share_secret;  /* NULL */
    const char *mount_options; /* comma-separated, "" */
    enum copy_policy copy_policy;
    bool pod_may_choose_copy; /* podMayChoose: copyPolicy */
    enum authorize_rule authorize;
    uint64_t budget_bytes;                    /* 0: none */
    uint64_t evict_below_free, evict_to_free; /* free bytes, or CLASS_PERCENT | 1..99; 0: defaults */
    const char *allowed_namespaces;           /* comma-separated patterns; NULL: all */
    const char *allowed_sources;              /* comma-separated URL patterns; NULL: all */
    const char *
        allowed_addresses; /* comma-separated CIDRs that may be reached though private, loopback or link-local; NULL: none */
    const char *ca_bundle;   /* absolute path of a PEM file on the node; NULL: the system's */
    const char *proxy;       /* URL; NULL: none (the environment is never read) */
    const char *s3_endpoint; /* URL for s3:// of compatible servers; NULL: AWS */
    const char *s3_region;   /* NULL: us-east-1 or what the server says */
    bool s3_path_style;      /* default true when s3_endpoint is given */
    bool s3_path_style_is_given;
    /* Who a pod is to a source (cachecore/credentials.h): what it says itself and its service account's annotations come first. */
    bool node_identity; /* where nothing else applies, the node's own cloud identity asks; default false */
    const char *aws_role_arn, *google_service_account, *azure_client_id, *azure_tenant_id; /* NULL */
    const char *
        google_provider; /* audience of Google's token service: identitynamespace:.. or //iam.googleapis.com/..; NULL */
    uint64_t answer_ttl_s; /* how long a source's yes to an identity counts; default 5 */
    uint64_t
        unreachable_grace_s; /* a source that cannot be reached: what it allowed this identity so recently is served; 0: nothing */
    /* Other servers than the vendors' own: URLs without a path; NULL: the vendors'. */
    const char *gcs_endpoint, *azure_endpoint;
    const char *aws_sts_endpoint, *aws_pod_identity_endpoint, *aws_metadata_endpoint;
    const char *google_sts_endpoint, *google_iam_endpoint, *google_token_endpoint, *google_metadata_endpoint;
    const char *azure_authority, *azure_metadata_endpoint;
    bool noexec;        /* default false */
    uint64_t max_bytes; /* of one volume; default 16 TiB */
    uint64_t max_files; /* of one volume; default 1,000,000 */
};

/* ERR_INVALID names the parameter, the cause and what is allowed. provisioner must be driver_name. */
int class_parse_json(struct arena *arena, const char *text, size_t len, const char *driver_name, struct class *out,
                     struct err *err);

/* The built-in default: embedded local store, direct. */
void class_default(struct class *out);

/* Sets one parameter by its StorageClass name ("shareType"); ERR_INVALID for an unknown name or a bad value. */
int class_set(struct arena *arena, struct class *class, const char *key, const char *value, struct err *err);
bool class_knows(const char *key);
/* What no single parameter can say: a share type that needs a share, an end of eviction below its start. */
int class_check(const struct class *class, struct err *err);

/* Patterns are divided by commas; '*' stands for any run of bytes, '?' for one. A source pattern is scheme://host[/path]: its host part never
 * matches beyond the host, a path that ends in '/' stands for all below it, no path for all of the host; queries do not count. */
bool class_allows_namespace(const struct class *class, const char *name);
bool class_allows_source(const struct class *class, const char *canonical_url);

/* Adds all that decides how a class reaches sources and token services, and as whom: what is remembered of those holds for one such digest. */
void class_digest_access(const struct class *class, struct sha256 *sha);
