#include <string.h>

#include "cachecore/class.h"

void class_digest_access(const struct class *class, struct sha256 *sha)
{
    const char *const texts[] = {
        class->allowed_addresses,
        class->ca_bundle,
        class->proxy,
        class->s3_endpoint,
        class->s3_region,
        class->gcs_endpoint,
        class->azure_endpoint,
        class->aws_role_arn,
        class->google_service_account,
        class->google_provider,
        class->azure_client_id,
        class->azure_tenant_id,
        class->aws_sts_endpoint,
        class->aws_pod_identity_endpoint,
        class->aws_metadata_endpoint,
        class->google_sts_endpoint,
        class->google_iam_endpoint,
        class->google_token_endpoint,
        class->google_metadata_endpoint,
        class->azure_authority,
        class->azure_metadata_endpoint,
    };
    const uint8_t flags[] = {class->node_identity, class->s3_path_style};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        sha256_field(sha, texts[i], texts[i] ? strlen(texts[i]) : 0);
    sha256_field(sha, flags, sizeof(flags));
}
