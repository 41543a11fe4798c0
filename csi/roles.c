#include "csi/roles.h"

const struct role_names role_names[IDENTITY_ROLES] = {
    [ROLE_AWS] = {"awsRoleArn", "aws-role-arn", "eks.amazonaws.com/role-arn"},
    [ROLE_GOOGLE] = {"googleServiceAccount", "google-service-account", "iam.gke.io/gcp-service-account"},
    [ROLE_AZURE_CLIENT] = {"azureClientId", "azure-client-id", "azure.workload.identity/client-id"},
    [ROLE_AZURE_TENANT] = {"azureTenantId", "azure-tenant-id", "azure.workload.identity/tenant-id"},
};
