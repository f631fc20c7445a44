/* Seeds against the machines of agent/commit, and mutants of these machines against the laws.
 *
 *   simulate --seeds A-B        each seed from its beginning to its end (default 1-2000)
 *            --steps N          with faults, per seed (400); what follows without faults comes on
 * top
 *            --seconds S        no new seed after so long
 *            --seed X --trace   one seed, every event printed
 *            --mutant NAME      with that rule broken: finds the first seed that notices
 *            --mutants          all of them, one after the other: every one must be noticed
 *
 * A mutant is noticed within --seeds: 2,000 are asked, no rule needs more (measured: 600).
 *
 * Exit: 0 as it must be, 1 a law was broken (or a mutant was not noticed), 2 wrong usage. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/simulate/mutants.h"
#include "tests/simulate/world.h"

Mutant simulate_mutant = MUTANT_none;

const char *const law_names[LAWS] = {"none",         "content",     "value",        "forward",
                                     "one snapshot", "barrier",     "confirm late", "stream whole",
                                     "record first", "files",       "stall just",   "stall seen",
                                     "load first",   "round whole", "round ends",   "converges"};

static const char *const mutant_names[MUTANT_COUNT] = {"none",
#define MUTANT_NAME(name) #name,
                                                       MUTANTS(MUTANT_NAME)
#undef MUTANT_NAME
};

static World world;

/* ---------- chance ---------- */
uint64_t chance_next(World *at)
{
    uint64_t z = (at->random += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

bool fault(World *at, uint32_t percent)
{
    if (at->calm || !at->fault_percent || chance_below(at, 100) >= at->fault_percent ||
        !chance(at, percent))
        return false;
    at->faults++;
    return true;
}

/* ---------- what is said ---------- */
bool broke(World *at, Law law, const char *format, ...)
{
    if (at->broken)
        return false;
    at->broken = law;
    va_list args;
    va_start(args, format);
    vsnprintf(at->detail, sizeof at->detail, format, args);
    va_end(args);
    return false;
}

void trace(const World *at, const char *format, ...)
{
    if (!at->trace)
        return;
    va_list args;
    va_start(args, format);
    printf("%5lu %7ld ms  ", (unsigned long)at->step, (long)(at->now_us / 1000));
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

void stalled(World *at, StallReason reason, const char *who)
{
    trace(at, "%s is stalled: %s", who, stall_reason_name(reason));
    at->stalled = true;
    if (!(at->justified & 1U << reason))
        broke(at, LAW_STALL_JUST, "%s is stalled with %s, and nothing of that kind happened", who,
              stall_reason_name(reason));
}

const char *source_name(int32_t source)
{
    return source ? "s/1" : "s/0";
}

/* ---------- seeds ---------- */
static bool run_seed(uint64_t seed, uint64_t steps, bool with_trace)
{
    world.seed = world.random = seed;
    world.now_us = INT64_C(1000000000);
    world.step = 0;
    world.trace = with_trace;
    world.calm = world.struck = world.must_stall = world.stalled = world.has_record = false;
    world.broken = LAW_NONE;
    world.justified = world.faults = world.deleted_count = world.request_count = 0;
    world.ids = 0;
    world.uuids = 0;
    world.layouts = 0;
    world.record = (RecordBody){0};
    (void)chance_next(&world);
    world.fault_percent = chance_below(&world, 5) ? 10 + chance_below(&world, 60) : 0;
    world.compares_metadata = chance(&world, 40);
    world.reads_stale = chance(&world, 40);
    world.disaster = chance(&world, 25);
    return chance(&world, 45) ? direct_run(&world, steps) : group_run(&world, steps);
}

typedef struct Options {
    uint64_t first, last, steps;
    int64_t seconds;
    Mutant mutant;
    bool trace, all_mutants;
} Options;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void say_broken(const Options *options)
{
    printf(
        "seed %lu breaks the law '%s' at step %lu: %s\nrepeat: simulate --seed %lu --steps %lu%s%s "
        "--trace\n",
        (unsigned long)world.seed, law_names[world.broken], (unsigned long)world.step, world.detail,
        (unsigned long)world.seed, (unsigned long)options->steps,
        simulate_mutant ? " --mutant " : "", simulate_mutant ? mutant_names[simulate_mutant] : "");
}

static int run_seeds(const Options *options)
{
    double started = now();
    uint64_t steps = 0, seeds = 0, faults = 0, stalls = 0;
    for (uint64_t seed = options->first; seed <= options->last; seed++) {
        bool ok = run_seed(seed, options->steps, options->trace);
        steps += world.step;
        faults += world.faults;
        stalls += world.stalled;
        seeds++;
        if (!ok) {
            say_broken(options);
            return 1;
        }
        if (options->seconds && now() - started > (double)options->seconds)
            break;
    }
    double seconds = now() - started;
    printf("%lu seeds, %lu steps, %lu faults, %lu justly stalled, no law broken; %.0f steps/s\n",
           (unsigned long)seeds, (unsigned long)steps, (unsigned long)faults, (unsigned long)stalls,
           (double)steps / seconds);
    return 0;
}

/* Every rule, broken, has to be noticed. */
static int run_mutants(const Options *options)
{
    int missed = 0;
    for (simulate_mutant = 1; simulate_mutant < MUTANT_COUNT; simulate_mutant++) {
        uint64_t seed = options->first;
        while (seed <= options->last && run_seed(seed, options->steps, false))
            seed++;
        if (seed > options->last) {
            missed++;
            printf("%-28s NOT noticed in %lu seeds\n", mutant_names[simulate_mutant],
                   (unsigned long)(options->last - options->first + 1));
        } else {
            printf("%-28s seed %5lu  %-12s %s\n", mutant_names[simulate_mutant],
                   (unsigned long)seed, law_names[world.broken], world.detail);
        }
    }
    simulate_mutant = MUTANT_none;
    printf("%d mutants, %d not noticed\n", MUTANT_COUNT - 1, missed);
    return missed ? 1 : 0;
}

static bool parse(int count, char **words, Options *ret)
{
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        if (strcmp(word, "--trace") == 0) {
            ret->trace = true;
            continue;
        }
        if (strcmp(word, "--mutants") == 0) {
            ret->all_mutants = true;
            continue;
        }
        if (i + 1 == count)
            return false;
        char *value = words[++i], *end = value;
        if (strcmp(word, "--mutant") == 0) {
            for (int m = 1; m < MUTANT_COUNT; m++)
                if (strcmp(mutant_names[m], value) == 0)
                    ret->mutant = (Mutant)m;
            if (!ret->mutant)
                return false;
            continue;
        }
        uint64_t number = strtoull(value, &end, 10);
        if (strcmp(word, "--seeds") == 0 && *end == '-') {
            ret->first = number;
            ret->last = strtoull(end + 1, &end, 10);
        } else if (strcmp(word, "--seed") == 0) {
            ret->first = ret->last = number;
        } else if (strcmp(word, "--steps") == 0) {
            ret->steps = number;
        } else if (strcmp(word, "--seconds") == 0) {
            ret->seconds = (int64_t)number;
        } else {
            return false;
        }
        if (*end || end == value)
            return false;
    }
    return true;
}

int main(int count, char **words)
{
    Options options = {.first = 1, .last = 2000, .steps = 400};
    if (!parse(count, words, &options)) {
        fprintf(stderr, "simulate: wrong usage; its source's head names the options\n");
        return 2;
    }
#ifndef FIRN_MUTANTS
    if (options.mutant || options.all_mutants) {
        fprintf(stderr, "simulate: mutants are in simulate_mutants\n");
        return 2;
    }
#endif
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (options.all_mutants)
        return run_mutants(&options);
    simulate_mutant = options.mutant;
    return run_seeds(&options);
}
