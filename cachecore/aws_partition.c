#include "cachecore/aws_partition.h"

#include <string.h>

#include "base/str.h"

/* The last one takes what the others leave. */
static const struct aws_partition partitions[] = {
    {"aws-cn", "cn-", "cn-northwest-1", "amazonaws.com.cn"},
    {"aws-us-gov", "us-gov-", "us-gov-west-1", "amazonaws.com"},
    {"aws-eusc", "eusc-", "eusc-de-east-1", "amazonaws.eu"},
    {"aws-iso", "us-iso-", "us-iso-east-1", "c2s.ic.gov"},
    {"aws-iso-b", "us-isob-", "us-isob-east-1", "sc2s.sgov.gov"},
    {"aws-iso-e", "eu-isoe-", "eu-isoe-west-1", "cloud.adc-e.uk"},
    {"aws-iso-f", "us-isof-", "us-isof-south-1", "csp.hci.ic.gov"},
    {"aws", NULL, "us-east-1", "amazonaws.com"},
};

const struct aws_partition *aws_partition_of_region(const char *region)
{
    const struct aws_partition *partition = partitions;
    while (partition->region_prefix && !str_starts_with(region, partition->region_prefix))
        partition++;
    return partition;
}

const struct aws_partition *aws_partition_of_arn(const char *arn)
{
    if (!str_starts_with(arn, "arn:"))
        return NULL;
    size_t len = strcspn(arn + 4, ":");
    for (size_t i = 0; i < sizeof(partitions) / sizeof(partitions[0]); i++) {
        if (strlen(partitions[i].id) == len && memcmp(partitions[i].id, arn + 4, len) == 0)
            return &partitions[i];
    }
    return NULL;
}
