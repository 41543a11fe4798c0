/* Amazon's partitions: parts of its cloud with hosts, regions and ARNs of their own. */
#pragma once

#include <stdbool.h>

struct aws_partition {
    const char *id;             /* as an ARN's second field has it */
    const char *region_prefix;  /* NULL: every region that is no other's */
    const char *default_region; /* where nothing is said */
    const char *suffix;         /* of host names */
};

const struct aws_partition *aws_partition_of_region(const char *region);
/* "arn:aws-cn:..."; NULL where the text is no ARN of a known partition. */
const struct aws_partition *aws_partition_of_arn(const char *arn);
