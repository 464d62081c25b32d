/* The multiplication with the resident form of whole steps.  Bytes per weight: 0.92 from memory
 * into shared memory and out of it again, with the steps of 16 rows for each 64 columns. */
#include "form_q8.cuh"
#include "multiply_launch.cuh"

struct q8_step {
    static constexpr uint32_t UNIT_PART = WEIR_FORM_Q8_HALF_BYTES + 4 * WEIR_FORM_Q8_INLINE;
    static constexpr uint32_t STEP_BYTES = 4 * WEIR_FORM_Q8_STEP_WORDS;
    static constexpr uint32_t SLOT_BYTES = UNIT_PART + STEP_BYTES;
    static constexpr uint32_t ARRIVALS = copying<true>::ARRIVALS;
    static constexpr bool ENGINE_FOR_X = false;

    /* Half a unit and its exceptions, which lie between the halves; behind them the steps. */
    static __device__ __forceinline__ void fetch(const struct multiply_job &j, uint32_t tile,
                                                 uint32_t step, uint32_t lane, uint32_t slot,
                                                 uint32_t bar)
    {
        const uint32_t unit = tile * ((j.n_steps + 1) / 2) + step / 2; /* they are < 2^32 */
        const uint8_t *from =
            j.weights + (size_t)unit * WEIR_FORM_Q8_UNIT_BYTES + step % 2 * WEIR_FORM_Q8_HALF_BYTES;
        const uint32_t *steps = j.steps + (size_t)tile * WEIR_FORM_Q8_STEP_WORDS;
        copying<true>::two(slot, from, UNIT_PART, steps, STEP_BYTES, lane, bar);
    }

    struct form_q8_words words;
    uint2 steps;
    uint32_t exception; /* word lane % 8 */
    bool odd;           /* has exceptions in this half */

    __device__ __forceinline__ void read(uint32_t step, uint32_t lane, uint32_t slot)
    {
        const uint32_t from = slot + step % 2 * (4 * WEIR_FORM_Q8_INLINE);
        const uint32_t head = slot + (step % 2 ? 0 : FORM_Q8_EXCEPTIONS_AT);
        words.first = read_16(from + 16 * lane);
        words.then = read_8(from + FORM_Q8_PAIRS_OF_WORDS_AT + 8 * lane);
        words.last = read_4(from + FORM_Q8_LAST_WORDS_AT + 4 * lane);
        exception = read_4(head + 4 * (lane % WEIR_FORM_Q8_INLINE));
        steps = form_q8_steps(read_4(slot + UNIT_PART + lane / 4 * 4));
        odd = __any_sync(~0u, exception >> 26 == step % 2 || exception == WEIR_FORM_LIST);
    }

    /* Columns 32 h to 32 h + 31 of the step; the slot is as it was. */
    __device__ __forceinline__ void decode(const struct multiply_job &j, uint2 high, uint32_t step,
                                           int h, uint32_t lane, uint32_t slot,
                                           uint32_t a[2][4]) const
    {
        (void)high;
        (void)slot;
        form_q8_decode(words, h, steps, a);
        if (odd)
            form_q8_put_exceptions(exception, j.lines, step % 2 * 2 + h, lane, a);
    }
};

weir_err multiply_q8(struct weir_gpu_stream *s, const struct multiply_job *job, uint32_t groups)
{
    return launch_for_batch<q8_step>(s, *job, groups);
}

weir_err multiply_q8_around(struct weir_gpu_stream *s, const struct multiply_job *job,
                            const struct multiply_around *around)
{
    return launch_around<q8_step>(s, *job, *around);
}
