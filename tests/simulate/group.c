#include "tests/simulate/world.h"
bool group_run(World *world, uint64_t steps)
{
    return direct_run(world, steps);
}
