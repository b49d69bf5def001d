/* Lets libFuzzer watch code that GCC compiled.
 *
 * libFuzzer wants the counters of Clang's -fsanitize=fuzzer-no-link. GCC knows
 * -fsanitize-coverage=trace-pc, a call in every basic block, and trace-cmp, a call at every
 * comparison. Preloaded into the process, this library answers these calls: it gives every place
 * that it sees a counter of its own, and passes comparisons on.
 *
 * coverage_attach(path of the library that holds libFuzzer) connects both; until then comparisons
 * are dropped. One thread only: the fuzzed code runs under the GIL.
 */

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

enum { PLACES = 1 << 16, SLOT_BITS = 18, SLOTS = 1 << SLOT_BITS };

static uint8_t counters[PLACES];
static uint32_t places;

/* Open addressing: the return address of a call to its counter. */
static uintptr_t keys[SLOTS];
static uint32_t indices[SLOTS];

/* libFuzzer wants an address for every counter. Any will do, as long as they differ. */
static struct { uintptr_t address, flags; } table[PLACES];

#define CALLER ((uintptr_t) __builtin_return_address(0))

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    uintptr_t place = CALLER;
    uint32_t slot =
        (uint32_t) (((uint64_t) place * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - SLOT_BITS));
    while (keys[slot] != place) {
        if (keys[slot] == 0) {
            if (places == PLACES)
                return;
            keys[slot] = place;
            indices[slot] = places++;
            break;
        }
        slot = (slot + 1) & (SLOTS - 1);
    }
    counters[indices[slot]]++;
}

/* Comparisons. The calls are the last thing a forwarder does, so that the compiler makes jumps of
 * them and libFuzzer sees the place of the comparison as its own caller. */
#define FORWARD(name, type) \
    static void (*to_##name)(type, type); \
    void __sanitizer_cov_trace_##name(type left, type right); \
    void __sanitizer_cov_trace_##name(type left, type right) \
    { \
        if (to_##name) \
            to_##name(left, right); \
    }
#define DROP(name, type) \
    void __sanitizer_cov_trace_##name(type left, type right); \
    void __sanitizer_cov_trace_##name(type left, type right) { (void) left; (void) right; }

FORWARD(cmp1, uint8_t)
FORWARD(cmp2, uint16_t)
FORWARD(cmp4, uint32_t)
FORWARD(cmp8, uint64_t)
FORWARD(const_cmp1, uint8_t)
FORWARD(const_cmp2, uint16_t)
FORWARD(const_cmp4, uint32_t)
FORWARD(const_cmp8, uint64_t)
/* libFuzzer has nothing for these. */
DROP(cmpf, float)
DROP(cmpd, double)

static void (*to_switch)(uint64_t, uint64_t *);
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases);
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases)
{
    if (to_switch)
        to_switch(value, cases);
}

/* ISO C has no conversion from what dlsym returns to a function. */
static int find(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    *(void **) function = found;
    return found != NULL;
}

/* Returns 0, or -1 if the library has not what it needs. */
int coverage_attach(const char *path);
int coverage_attach(const char *path)
{
    void (*add_counters)(uint8_t *, uint8_t *);
    void (*add_table)(void *, void *);
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (library == NULL
        || !find(library, "__sanitizer_cov_8bit_counters_init", &add_counters)
        || !find(library, "__sanitizer_cov_pcs_init", &add_table)
        || !find(library, "__sanitizer_cov_trace_cmp1", &to_cmp1)
        || !find(library, "__sanitizer_cov_trace_cmp2", &to_cmp2)
        || !find(library, "__sanitizer_cov_trace_cmp4", &to_cmp4)
        || !find(library, "__sanitizer_cov_trace_cmp8", &to_cmp8)
        || !find(library, "__sanitizer_cov_trace_const_cmp1", &to_const_cmp1)
        || !find(library, "__sanitizer_cov_trace_const_cmp2", &to_const_cmp2)
        || !find(library, "__sanitizer_cov_trace_const_cmp4", &to_const_cmp4)
        || !find(library, "__sanitizer_cov_trace_const_cmp8", &to_const_cmp8)
        || !find(library, "__sanitizer_cov_trace_switch", &to_switch))
        return -1;
    for (size_t i = 0; i < PLACES; i++)
        table[i].address = (uintptr_t) &counters[i];
    add_counters(counters, counters + PLACES);
    add_table(table, table + PLACES);
    return 0;
}

/* How many places were seen so far. */
unsigned int coverage_places(void);
unsigned int coverage_places(void)
{
    return places;
}
