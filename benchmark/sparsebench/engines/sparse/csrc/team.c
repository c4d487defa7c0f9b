/* Threads that run the layers of one chunk together, the choice of an instruction set, and memory. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sparse.h"

#if defined(__x86_64__)
extern const spb_isa spb_isa_avx512, spb_isa_avx2, spb_isa_avx2x2, spb_isa_portable;
static const spb_isa *const isas[] = {&spb_isa_avx512, &spb_isa_avx2, &spb_isa_avx2x2, &spb_isa_portable};
#elif defined(__aarch64__)
extern const spb_isa spb_isa_neon;
static const spb_isa *const isas[] = {&spb_isa_neon};
#else
extern const spb_isa spb_isa_portable;
static const spb_isa *const isas[] = {&spb_isa_portable};
#endif

int spb_abi(void) { return SPB_ABI; }

int spb_sizes(int which) {
    const int sizes[] = {sizeof(spb_entry), sizeof(spb_both), sizeof(spb_map),
                         sizeof(spb_op),    sizeof(spb_io),   sizeof(spb_isa), sizeof(spb_train)};
    return which < 0 || which > 6 ? 0 : sizes[which];
}

int spb_count(void) { return sizeof(isas) / sizeof(isas[0]); }

const spb_isa *spb_get(int index) { return index < 0 || index >= spb_count() ? 0 : isas[index]; }

/* Whether this processor (and its system, which must save the registers) has the instructions. */
int spb_usable(int index) {
    if (index < 0 || index >= spb_count()) return 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isas[index] == &spb_isa_avx512) return __builtin_cpu_supports("avx512f") != 0;
    if (isas[index] != &spb_isa_portable) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return 1;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

typedef struct {
    spb_team *team;
    int self; /* 0: the caller */
} member;

struct spb_team {
    int threads; /* the caller's included */
    pthread_t *handles;
    member *members;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint job; /* counts the jobs given */
    atomic_int stop;
    atomic_int arrived;
    atomic_uint phase;
    atomic_int *next; /* [ops][threads]: the next item of each thread's own */
    int room;
    const spb_isa *isa;
    const spb_op *ops;
    int count;
    const spb_io *io;
};

static void barrier(spb_team *team) {
    if (team->threads == 1) return;
    const unsigned phase = atomic_load(&team->phase);
    if (atomic_fetch_add(&team->arrived, 1) == team->threads - 1) {
        atomic_store(&team->arrived, 0);
        atomic_fetch_add(&team->phase, 1);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase; spins++) {
        if (spins < 4000)
            relax();
        else
            sched_yield(); /* more threads than cores */
    }
}

/* Every thread has items of its own, neighbours, the same part of the map in each layer, so that it finds in its cache
 * what it wrote before; then it takes what is left of the others'.
 */
static void work(spb_team *team, int self) {
    const int threads = team->threads;
    const int count = team->count; /* after the last barrier the next job may already be written */
    for (int i = 0; i < count; i++) {
        const spb_op *op = &team->ops[i];
        const int total = team->isa->items(op);
        for (int other = 0; other < threads; other++) {
            const int owner = (self + other) % threads;
            const int end = (int64_t)total * (owner + 1) / threads;
            atomic_int *next = &team->next[i * threads + owner];
            for (int k; (k = atomic_fetch_add(next, 1)) < end;) team->isa->item(op, k, team->io);
        }
        barrier(team);
    }
}

static void *loop(void *argument) {
    spb_team *team = ((member *)argument)->team;
    const int self = ((member *)argument)->self;
    unsigned seen = 0;
    for (;;) {
        for (int spins = 0; spins < 4000 && atomic_load(&team->job) == seen && !atomic_load(&team->stop); spins++)
            relax();
        pthread_mutex_lock(&team->mutex);
        while (atomic_load(&team->job) == seen && !atomic_load(&team->stop))
            pthread_cond_wait(&team->wake, &team->mutex);
        pthread_mutex_unlock(&team->mutex);
        if (atomic_load(&team->stop)) return 0;
        seen++;
        work(team, self);
    }
}

void spb_team_free(spb_team *team) {
    if (!team) return;
    pthread_mutex_lock(&team->mutex);
    atomic_store(&team->stop, 1);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
    for (int i = 0; i < team->threads - 1; i++) pthread_join(team->handles[i], 0);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    free(team->next);
    free(team->handles);
    free(team->members);
    free(team);
}

/* NULL where memory or threads run out. */
spb_team *spb_team_new(int threads) {
    if (threads < 1) return 0;
    spb_team *team = calloc(1, sizeof *team);
    if (!team) return 0;
    team->threads = 1;
    team->handles = calloc(threads, sizeof *team->handles);
    team->members = calloc(threads, sizeof *team->members);
    pthread_mutex_init(&team->mutex, 0);
    pthread_cond_init(&team->wake, 0);
    int started = 0;
    while (team->handles && team->members && started < threads - 1) {
        team->members[started] = (member){team, started + 1};
        if (pthread_create(&team->handles[started], 0, loop, &team->members[started])) break;
        started++;
    }
    team->threads = started + 1;
    if (team->threads == threads && team->handles && team->members) return team;
    spb_team_free(team);
    return 0;
}

/* Run layers in their order; 0, or -1 where memory runs out. One call at a time for a team. */
int spb_run(spb_team *team, const spb_isa *isa, const spb_op *ops, int count, const spb_io *io) {
    if (count > team->room) {
        atomic_int *next = realloc((void *)team->next, (size_t)count * team->threads * sizeof *next);
        if (!next) return -1;
        team->next = next;
        team->room = count;
    }
    for (int i = 0; i < count; i++) {
        const int total = isa->items(&ops[i]);
        for (int k = 0; k < team->threads; k++) {
            const int first = (int64_t)total * k / team->threads;
            atomic_store_explicit(&team->next[i * team->threads + k], first, memory_order_relaxed);
        }
    }
    team->isa = isa, team->ops = ops, team->count = count, team->io = io;
    if (team->threads > 1) {
        pthread_mutex_lock(&team->mutex);
        atomic_fetch_add(&team->job, 1);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->mutex);
    }
    work(team, 0);
    return 0;
}

/* Zeroed memory in huge pages where the system has them. */
void *spb_alloc(int64_t bytes) {
    const size_t huge = (size_t)2 << 20, size = ((size_t)bytes + huge - 1) & ~(huge - 1);
    void *memory = 0;
    if (bytes <= 0 || posix_memalign(&memory, huge, size)) return 0;
#ifdef MADV_HUGEPAGE
    madvise(memory, size, MADV_HUGEPAGE);
#endif
    memset(memory, 0, size);
    return memory;
}

void spb_free(void *memory) { free(memory); }
