/* MUTANT(name) is false in the product. tests/simulate compiles this folder a second time with
 * FIRN_MUTANTS naming a header of its own, where it is true for the one rule that a run breaks: so
 * it proves that the simulator notices every rule that is broken. */
#pragma once

#ifdef FIRN_MUTANTS
#include FIRN_MUTANTS
#else
#define MUTANT(name) false
#endif
