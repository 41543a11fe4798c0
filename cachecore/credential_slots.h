/* How many questions are on their way to token and metadata services at a time, in this process. Thread-safe. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

#define CREDENTIAL_QUESTIONS_MAX 8u

/* Waits for its turn. ERR_CANCELLED when *cancel (NULL: never) became true meanwhile. */
int credential_slot_take(const atomic_bool *cancel, struct err *err);
void credential_slot_give_back(void);
