/* What lies between the matrices of a model, on the GPU, beside the same in double precision on the
 * CPU: every op with all its switches, outputs poisoned before, and each row's bits alone and among
 * others.
 *
 *     gpu_ops --check [--small]             the test gpu.ops; --small: for compute-sanitizer
 *     gpu_ops [--csv FILE] [--commit ID]    microseconds of each op, in a graph of many launches */
#include "gpu_ops.h"

#include "cuda/fragment.cuh"

Vectors::Vectors(Lab &l, weir_gpu_layout lay, uint32_t columns, uint32_t count)
    : layout(lay), n_columns(columns), n(count),
      room(l, lay == WEIR_GPU_FRAGMENTS
                  ? (size_t)fragment_columns(columns) * fragment_vectors(count)
                  : (size_t)columns * count)
{
}

uint16_t Vectors::bits(uint32_t column, uint32_t vector) const
{
    return host[layout == WEIR_GPU_FRAGMENTS ? fragment_at(column, vector, n)
                                             : (size_t)vector * n_columns + column];
}

bool Vectors::fetch()
{
    bool fine;
    host = room.get(&fine);
    if (layout != WEIR_GPU_FRAGMENTS)
        return fine;
    for (uint32_t v = 0; v < fragment_vectors(n); v++)
        for (uint32_t c = 0; c < fragment_columns(n_columns); c++)
            if ((v >= n || c >= n_columns) && bits(c, v) != 0)
                return false;
    return fine;
}

double bf16_error(uint16_t got, double want, double slack)
{
    int exponent;
    frexp(want, &exponent);
    const double half = ldexp(1, exponent - 9); /* of the last of 8 bits */
    const double off = fabs((double)from_bf16(got) - want);
    return off <= 1e300 ? off / (half + slack + 2e-6 * fabs(want)) : 1e300;
}

/* Every place is somebody's, and only one's; pairs of columns are neighbours. */
void check_layout(Lab &lab)
{
    for (uint32_t n : {1u, 2u, 8u, 9u, 16u, 17u, 32u, 33u, 64u})
        for (uint32_t columns : {2u, 64u, 128u, 130u, 2048u, 5632u}) {
            const size_t all = (size_t)fragment_columns(columns) * fragment_vectors(n);
            std::vector<bool> taken(all);
            bool fine = fragment_columns(columns) >= columns && fragment_vectors(n) >= n;
            for (uint32_t v = 0; v < fragment_vectors(n); v++)
                for (uint32_t c = 0; c < fragment_columns(columns); c++) {
                    const size_t at = fragment_at(c, v, n);
                    fine = fine && at < all && !taken[at] && at % 2 == c % 2 &&
                           at / 2 == fragment_at(c ^ 1, v, n) / 2;
                    if (at < all)
                        taken[at] = true;
                }
            verdict(lab, fine, "layout " + std::to_string(n) + " x " + std::to_string(columns),
                    "not one place for each element");
        }
}

int main(int argc, char **argv)
{
    bool check = false, small = false;
    const char *csv = nullptr, *commit = "";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--check"))
            check = true;
        else if (!strcmp(argv[i], "--small"))
            small = true;
        else if (!strcmp(argv[i], "--csv") && i + 1 < argc)
            csv = argv[++i];
        else if (!strcmp(argv[i], "--commit") && i + 1 < argc)
            commit = argv[++i];
        else
            return 2;
    }
    Lab lab{};
    check_layout(lab); /* needs no device */
    weir_diag diag;
    if (weir_gpu_open(0, &lab.gpu, &diag)) {
        printf("%d cases, %d bad; no more: %s\n", lab.n_cases, lab.n_bad, diag.text);
        return lab.n_bad ? 1 : 77;
    }
    must(weir_gpu_stream_new(lab.gpu, &lab.stream), "stream");
    if (check) {
        void (*const checks[])(Lab &, bool) = {check_norm,      check_gate, check_heads,
                                               check_attention, check_top,  check_draw};
        for (auto run : checks) {
            run(lab, small);
            printf("%d cases, %d bad so far\n", lab.n_cases, lab.n_bad);
            fflush(stdout);
        }
        printf("%d cases, %d bad\n", lab.n_cases, lab.n_bad);
    } else {
        bench_ops(lab, csv, commit);
    }
    weir_gpu_stream_free(lab.stream);
    weir_gpu_close(lab.gpu);
    return lab.n_bad ? 1 : 0;
}
