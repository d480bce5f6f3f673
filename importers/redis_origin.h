// SPDX-License-Identifier: Apache-2.0
//
// The half of redis_record.h that makes Record.origin; internal to the importer.
#pragma once

#include "importers/redis_record.h"

namespace vkb {

// Sets mapped.record.origin and mapped.hash; to be called when everything else is set.
void attach_origin(MappedRecord& mapped, const RedisFields& fields, const RedisMapping& mapping);

}  // namespace vkb
