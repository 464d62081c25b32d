/* Stores that name a base: what pack makes of trees that are alike, and what reading gives with the
 * base, without it, and with another one.  Tests private headers.  Long because all of it is made
 * with one kit of a base and what differs from it. */
#include "index.h"

#include "../fuzz/base_store.h"
#include "codec/extract.h"
#include "codec/part.h"
#include "fail_alloc.h"
#include "tree_kit.h"

enum { N_VALUES = 150000, ROOM = 4 << 20 }; /* of the largest tensor: three tiles */

/* ---- a base and what differs from it ---- */

static struct tree *base_tree(void)
{
    struct tree *t = tree_new(ROOM);
    tree_fill(t, N_VALUES);
    cr_assert_eq(tree_pack(t), WEIR_OK, "%s", t->diag.text);
    return t;
}

/* A tree and the store that was packed of it, and the base. */
struct pair {
    struct tree *base, *tree;
    struct weir_source src, base_src;
    struct weir_store *store, *base_store;
};

static struct pair pair_new(void)
{
    struct pair p = {.base = base_tree(), .tree = tree_new(ROOM)};
    p.base_store = tree_open_store(p.base, &p.base_src);
    tree_fill(p.tree, N_VALUES);
    p.tree->base = p.base_store;
    return p;
}

static void pair_pack(struct pair *p)
{
    weir_store_free(p->store);
    p->store = NULL;
    cr_assert_eq(tree_pack(p->tree), WEIR_OK, "%s", p->tree->diag.text);
    p->store = tree_open_store(p->tree, &p->src);
}

static void give_base(struct pair *p)
{
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_set_base(p->store, p->base_store, &diag), WEIR_OK, "%s", diag.text);
}

static void pair_free(struct pair *p)
{
    weir_store_free(p->store);
    weir_store_free(p->base_store);
    tree_free(p->tree);
    tree_free(p->base);
}

static struct tree_file *file_of(const struct tree *t, const char *path)
{
    return (struct tree_file *)&t->file[tree_find(t, path)];
}

/* The last bit of some values of the first tensor: neighbours of what they were. */
static void nudge(struct tree *t, size_t step)
{
    struct tree_file *f = file_of(t, "m/model.safetensors");
    size_t data = f->n_bytes - 1000 - 4 * (size_t)(N_VALUES / 2) - 4 * (size_t)N_VALUES;
    for (size_t i = 0; i < N_VALUES; i += step)
        f->bytes[data + 2 * i] ^= 1;
}

/* ---- what comes out ---- */

struct expected {
    const struct tree *tree;
    const struct weir_store *store;
};

static weir_err same_bytes(void *self, uint32_t entry, uint64_t at, const void *bytes, size_t n)
{
    const struct expected *e = self;
    const struct tree_file *f = file_of(e->tree, weir_store_entry(e->store, entry)->path);
    return at + n <= f->n_bytes && memcmp(f->bytes + at, bytes, n) == 0 ? WEIR_OK
                                                                        : WEIR_ERR_MISMATCH;
}

static weir_err extract(const struct pair *p, unsigned n_threads, struct weir_diag *diag)
{
    struct expected e = {p->tree, p->store};
    const struct weir_sink sink = {.self = &e, .write = same_bytes};
    const struct weir_extract_options how = {.n_threads = n_threads};
    return weir_extract(p->store, &sink, &how, diag);
}

static void expect_all(const struct pair *p)
{
    for (unsigned n = 1; n <= 3; n += 2) {
        struct weir_diag diag = {""};
        cr_expect_eq(extract(p, n, &diag), WEIR_OK, "%u threads: %s", n, diag.text);
    }
}

static uint64_t count(const struct weir_store *store, bool references)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < weir_store_info(store)->n_objects; i++) {
        const struct weir_object *o = weir_store_object(store, i);
        n += references ? o->is_reference : weir_coding_needs_base(o->coding);
    }
    return n;
}

/* ---- tests ---- */

Test(base, what_is_the_same_is_not_stored_again)
{
    struct pair p = pair_new();
    pair_pack(&p);
    const struct weir_store_info *info = weir_store_info(p.store);
    cr_expect(p.tree->result.needs_base && info->features == WEIR_FEATURE_BASE);
    cr_expect_arr_eq(info->base_digest, p.base->result.digest, WEIR_DIGEST_BYTES);
    cr_expect(info->n_extents == 0 && info->n_tiles == 0 && info->n_numbers > 6);
    cr_expect_eq(p.tree->result.same_bytes, info->plain_bytes);
    cr_expect_eq(count(p.store, true), info->n_objects);
    cr_expect_eq(info->n_objects, weir_store_info(p.base_store)->n_objects, "shared as there");
    cr_expect_lt(p.tree->store_bytes, 8192);
    give_base(&p);
    expect_all(&p);
    pair_free(&p);
}

Test(base, what_differs_little_takes_little)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    pair_pack(&p);
    cr_expect_eq(weir_store_info(p.store)->features, WEIR_FEATURE_BASE | WEIR_FEATURE_TRANSFORM);
    cr_expect_eq(count(p.store, false), 1);
    cr_expect_gt(count(p.store, true), 3);
    cr_expect_lt(p.tree->store_bytes, (size_t)2 * N_VALUES / 8 + 16384);
    give_base(&p);
    expect_all(&p);
    pair_free(&p);
}

/* Tiles of both kinds of object between each other, and of what the base has nothing like. */
Test(base, extents_and_numbers_pass_references_over)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    tree_fill_more(p.tree);
    tree_fill_random(file_of(p.tree, "unknown.bin")->bytes, 5000, 99);
    pair_pack(&p);
    give_base(&p);
    expect_all(&p);
    const struct weir_extract_options how = {.n_threads = 2};
    struct weir_diag diag = {""};
    cr_expect_eq(weir_check_extents(p.store, &how, &diag), WEIR_OK, "%s", diag.text);
    const struct weir_store_info *info = weir_store_info(p.store);
    uint64_t next = 0, behind = info->n_tiles;
    for (uint32_t i = 0; i < info->n_objects; i++) {
        const struct weir_object *o = weir_store_object(p.store, i);
        cr_expect_eq(o->first_number, o->is_reference ? behind : next, "object %u", i);
        cr_expect_eq(o->first_tile, next);
        behind += o->is_reference ? weir_object_tiles(o) : 0;
        next += o->n_tiles;
    }
    cr_expect(next == info->n_tiles && behind == info->n_numbers);
    pair_free(&p);
}

static weir_err take_tile(void *self, uint32_t object, uint64_t tile, size_t n)
{
    (void)object, (void)tile, (void)n;
    ++*(unsigned *)self;
    return WEIR_OK;
}

Test(base, an_extent_at_hand_is_decoded_with_it)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    pair_pack(&p);
    give_base(&p);
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(p.store, weir_kernels_best(), &cur), WEIR_OK);
    static uint8_t room[WEIR_TILE_BYTES];
    unsigned n_tiles = 0;
    const struct weir_tile_sink sink = {&n_tiles, room, take_tile};
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_info(p.store)->n_extents, 1);
    const uint8_t *bytes = p.tree->store + weir_store_extent(p.store, 0).at;
    cr_expect_eq(weir_store_decode_extent(cur, 0, bytes, &sink, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_eq(n_tiles, weir_store_info(p.store)->n_tiles);
    weir_store_cursor_free(cur);
    pair_free(&p);
}

Test(base, a_store_that_is_not_alike_needs_none)
{
    struct pair p = pair_new();
    for (size_t i = 0; i < p.tree->n_entries; i++)
        if (p.tree->entry[i].open && !p.tree->file[i].borrowed)
            tree_fill_random(p.tree->file[i].bytes, p.tree->file[i].n_bytes, i);
    pair_pack(&p);
    size_t n = p.tree->store_bytes;
    uint8_t *with = malloc(n);
    cr_assert_not_null(with);
    memcpy(with, p.tree->store, n);
    cr_expect_not(p.tree->result.needs_base);
    p.tree->base = NULL;
    pair_pack(&p);
    cr_assert_eq(p.tree->store_bytes, n);
    cr_expect_arr_eq(p.tree->store, with, n, "not one byte of it");
    cr_expect_eq(weir_store_set_base(p.store, p.base_store, NULL), WEIR_ERR_INVALID);
    free(with);
    pair_free(&p);
}

Test(base, tensors_are_found_in_other_files)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    snprintf(p.tree->path[tree_find(p.tree, "m/model.safetensors")], TREE_PATH_BYTES,
             "m/model-00001.safetensors");
    p.tree->entry[tree_find(p.tree, "m/link")].target = "model-00001.safetensors";
    cr_assert_eq(tree_pack(p.tree), WEIR_OK, "%s", p.tree->diag.text);
    p.store = tree_open_store(p.tree, &p.src);
    cr_expect_eq(count(p.store, false), 1);
    pair_free(&p);
}

Test(base, any_number_of_threads_gives_the_same_bytes)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    pair_pack(&p);
    uint8_t digest[WEIR_DIGEST_BYTES];
    memcpy(digest, p.tree->result.digest, sizeof(digest));
    for (unsigned n = 2; n <= 5; n += 3) {
        p.tree->n_threads = n;
        pair_pack(&p);
        cr_expect_arr_eq(p.tree->result.digest, digest, sizeof(digest), "%u threads", n);
    }
    pair_free(&p);
}

Test(base, without_it_only_what_needs_none_is_read)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    tree_fill_random(file_of(p.tree, "unknown.bin")->bytes, 5000, 99);
    pair_pack(&p);
    struct weir_diag diag = {""};
    cr_expect_eq(weir_store_need_base(p.store, &diag), WEIR_ERR_ABSENT);
    cr_expect_not_null(strstr(diag.text, "sha256:"), "%s", diag.text);
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(p.store, weir_kernels_best(), &cur), WEIR_OK);
    static uint8_t out[WEIR_TILE_BYTES];
    bool seen[2] = {false, false};
    for (uint32_t i = 0; i < weir_store_info(p.store)->n_objects; i++) {
        bool needs = weir_object_needs_base(weir_store_object(p.store, i));
        seen[needs] = true;
        cr_expect_eq(weir_store_read_tile(cur, i, 0, out, &diag), needs ? WEIR_ERR_ABSENT : WEIR_OK,
                     "object %u: %s", i, diag.text);
    }
    cr_expect(seen[0] && seen[1]);
    give_base(&p); /* too late for that cursor, which must not fail badly */
    cr_expect_eq(weir_store_read_tile(cur, 0, 0, out, &diag), WEIR_ERR_INVALID);
    cr_expect_eq(weir_store_set_base(p.store, p.base_store, &diag), WEIR_ERR_INVALID, "twice");
    weir_store_cursor_free(cur);
    pair_free(&p);
}

Test(base, another_one_is_refused)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    pair_pack(&p);
    struct pair other = pair_new();
    nudge(other.tree, 5);
    other.tree->base = NULL;
    pair_pack(&other);
    struct weir_diag diag = {""};
    cr_expect_eq(weir_store_set_base(p.store, other.store, &diag), WEIR_ERR_MISMATCH);
    char *first = strstr(diag.text, "sha256:");
    cr_assert_not_null(first);
    cr_expect_not_null(strstr(first + 1, "sha256:"), "both digests: %s", diag.text);
    other.tree->base = p.store;
    cr_expect_eq(tree_pack(other.tree), WEIR_ERR_UNSUPPORTED, "a base that needs one itself");
    cr_expect_not_null(strstr(other.tree->diag.text, "needs a base itself"));
    other.tree->base = p.base_store;
    other.tree->window_bytes = ROOM;
    cr_expect_eq(tree_pack(other.tree), WEIR_ERR_INVALID, "a base and a window");
    pair_free(&other);
    pair_free(&p);
}

Test(base, damage_in_it_is_its_own)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    pair_pack(&p);
    give_base(&p);
    struct weir_extent e = weir_store_extent(p.base_store, 0);
    for (uint32_t at = e.bytes / 4; at < e.bytes; at += e.bytes / 4)
        p.base->store[e.at + at] ^= 0x10;
    struct weir_diag diag = {""};
    cr_expect_eq(extract(&p, 1, &diag), WEIR_ERR_CORRUPT);
    cr_expect_not_null(strstr(diag.text, "its base"), "%s", diag.text);
    pair_free(&p);
}

/* ---- what an index may say ---- */

/* The index of a store that was packed, with one object bent, parsed again. */
static weir_err bend(const struct pair *p, const struct weir_object *with, uint32_t number,
                     unsigned features, struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(p->store);
    struct weir_object objects[16];
    struct index ix = {.n_objects = info->n_objects};
    cr_assert_leq(ix.n_objects, 16);
    for (uint32_t i = 0; i < ix.n_objects; i++) {
        objects[i] = *weir_store_object(p->store, i);
        objects[i].coding = NULL;
    }
    objects[number] = *with;
    ix.object = objects;
    uint8_t *bytes = NULL;
    size_t n = 0;
    cr_assert_eq(index_write(&ix, &bytes, &n), WEIR_OK);
    struct index *parsed = NULL;
    weir_err err = index_parse(bytes, n, features, &parsed, diag);
    index_free(parsed);
    free(bytes);
    return err;
}

Test(base, an_index_says_where_or_is_refused)
{
    struct pair p = pair_new();
    pair_pack(&p);
    const struct weir_object *right = weir_store_object(p.store, 0);
    struct weir_object wrong = *right;
    struct weir_diag diag = {""};
    wrong.base_object = WEIR_NO_OBJECT;
    cr_expect_eq(bend(&p, &wrong, 0, WEIR_FEATURE_BASE, &diag), WEIR_ERR_CORRUPT);
    cr_expect_not_null(strstr(diag.text, "no place"), "%s", diag.text);
    wrong = *right;
    wrong.base_at = UINT64_C(1) << 62;
    cr_expect_eq(bend(&p, &wrong, 0, WEIR_FEATURE_BASE, &diag), WEIR_ERR_CORRUPT);
    wrong = *right;
    wrong.bytes = UINT64_C(1) << 58; /* more than 2^40 tiles, none of them stored */
    cr_expect_eq(bend(&p, &wrong, 0, WEIR_FEATURE_BASE, &diag), WEIR_ERR_CORRUPT);
    cr_expect_not_null(strstr(diag.text, "2^40"), "%s", diag.text);
    pair_free(&p);
}

/* What the base does not have: past its objects, past the end of one, before it. */
Test(base, a_place_must_be_there)
{
    for (int i = 0; i < 4; i++) {
        struct pair p = pair_new();
        pair_pack(&p);
        struct weir_object *o = (struct weir_object *)weir_store_object(p.store, 1);
        const uint64_t bytes = o->bytes;
        if (i == 0)
            o->base_object = weir_store_info(p.base_store)->n_objects;
        else if (i == 1)
            o->base_at = 1;
        else if (i == 2)
            o->base_at = UINT64_MAX - bytes + 1;
        else
            o->bytes = bytes + 1;
        struct weir_diag diag = {""};
        cr_expect_eq(weir_store_set_base(p.store, p.base_store, &diag), WEIR_ERR_CORRUPT, "%d", i);
        cr_expect_not_null(strstr(diag.text, "no such bytes"), "%s", diag.text);
        pair_free(&p);
    }
}

/* A reference to the middle of an object: no tile of it begins where one of the base's does. */
Test(base, a_place_may_be_anywhere_in_an_object)
{
    struct pair p = pair_new();
    pair_pack(&p);
    const struct weir_segment *s = weir_store_find(p.store, "m/model.safetensors")->segment;
    while (s->bytes != (uint64_t)2 * N_VALUES)
        s++;
    struct weir_object *o = (struct weir_object *)weir_store_object(p.store, s->object);
    static uint8_t out[WEIR_TILE_BYTES];
    const uint8_t *plain = file_of(p.tree, "m/model.safetensors")->bytes + s->file_offset;
    const uint64_t at = 70001, bytes = o->bytes - at;
    o->base_at = at;
    o->bytes = bytes;
    give_base(&p);
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(p.store, weir_kernels_best(), &cur), WEIR_OK);
    struct weir_diag diag = {""};
    for (uint64_t tile = weir_object_tiles(o); tile-- > 0;) { /* backwards, too */
        cr_assert_eq(weir_store_read_tile(cur, s->object, tile, out, &diag), WEIR_OK, "%s",
                     diag.text);
        cr_expect_arr_eq(out, plain + at + tile * o->tile_bytes,
                         weir_store_tile_bytes(p.store, s->object, tile), "tile %llu",
                         (unsigned long long)tile);
    }
    weir_store_cursor_free(cur);
    pair_free(&p);
}

/* ---- an end from the outside ---- */

Test(base, the_end_of_a_store_names_it)
{
    struct pair p = pair_new();
    pair_pack(&p);
    const uint8_t *end = p.tree->store + p.tree->store_bytes - WEIR_STORE_END_BYTES;
    cr_expect(weir_store_end_names(end, p.tree->result.digest));
    cr_expect_not(weir_store_end_names(end, p.base->result.digest));
    uint8_t bent[WEIR_STORE_END_BYTES];
    memcpy(bent, end, sizeof(bent));
    bent[WEIR_STORE_END_BYTES - 1] ^= 1;
    cr_expect_not(weir_store_end_names(bent, p.tree->result.digest));
    pair_free(&p);
}

/* ---- stores of an earlier day ---- */

struct known {
    uint8_t bytes[BASE_ROOM];
    struct weir_source src;
    struct weir_store *store;
};

static void known_open(struct known *k, const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/unit/base_stores/%s.weir", WEIR_TESTS, name);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    size_t n = fread(k->bytes, 1, sizeof(k->bytes), f);
    (void)fclose(f);
    weir_source_from_memory(k->bytes, n, &k->src);
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_open(&k->src, &k->store, &diag), WEIR_OK, "%s: %s", name, diag.text);
}

static weir_err same_as_file(void *self, uint32_t entry, uint64_t at, const void *bytes, size_t n)
{
    const struct base_file *f = self;
    bool fine = entry == 0 && at + n <= f->n && memcmp(f->bytes + at, bytes, n) == 0;
    return fine ? WEIR_OK : WEIR_ERR_MISMATCH;
}

/* unit/base_stores, packed of what base_store.h makes: never made again to turn this green. */
Test(base, stores_of_an_earlier_day_give_the_same_bytes)
{
    static struct known base, one;
    static struct base_file file;
    known_open(&base, "base");
    for (unsigned step = 0; step <= 3; step += 3) {
        known_open(&one, step ? "difference" : "reference");
        base_file_fill(&file, step);
        struct weir_diag diag = {""};
        cr_assert_eq(weir_store_set_base(one.store, base.store, &diag), WEIR_OK, "%s", diag.text);
        cr_expect_eq(count(one.store, false), step != 0);
        const struct weir_sink sink = {.self = &file, .write = same_as_file};
        const struct weir_extract_options how = {.n_threads = 1};
        cr_expect_eq(weir_extract(one.store, &sink, &how, &diag), WEIR_OK, "%s", diag.text);
        weir_store_free(one.store);
    }
    weir_store_free(base.store);
}

/* ---- errors on the way ---- */

Test(base, each_allocation_may_fail)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    weir_err err = WEIR_ERR_NOMEM;
    for (int n = 0; err; n++) {
        cr_assert_lt(n, 5000);
        fail_alloc_at(n);
        err = tree_pack(p.tree);
        fail_alloc_at(-1);
        cr_assert(err == WEIR_OK || err == WEIR_ERR_NOMEM, "%d: %s", n, weir_err_text(err));
    }
    pair_pack(&p);
    give_base(&p);
    struct weir_diag diag = {""};
    err = WEIR_ERR_NOMEM;
    for (int n = 0; err; n++) {
        fail_alloc_at(n);
        err = extract(&p, 1, &diag);
        fail_alloc_at(-1);
        cr_assert(err == WEIR_OK || err == WEIR_ERR_NOMEM, "%d: %s", n, weir_err_text(err));
    }
    pair_free(&p);
}

Test(base, a_file_that_changes_meanwhile_is_noticed)
{
    struct pair p = pair_new();
    struct tree_file *f = file_of(p.tree, "unknown.bin");
    bool changed = false;
    for (long n = 1; n < 12; n++) {
        f->flip_at_read = n;
        weir_err err = tree_pack(p.tree);
        f->flip_at_read = 0;
        memcpy(f->bytes, file_of(p.base, "unknown.bin")->bytes, f->n_bytes);
        changed |= err == WEIR_ERR_CHANGED;
        cr_assert(err == WEIR_OK || err == WEIR_ERR_CHANGED, "%ld: %s", n, weir_err_text(err));
        if (err)
            continue;
        p.store = tree_open_store(p.tree, &p.src);
        /* What was packed is one state of the file or the other, as a whole. */
        struct weir_diag diag = {""};
        const struct weir_extract_options how = {.n_threads = 1};
        if (weir_store_info(p.store)->features & WEIR_FEATURE_BASE)
            give_base(&p);
        cr_expect_eq(weir_extract(p.store, NULL, &how, &diag), WEIR_OK, "%ld: %s", n, diag.text);
        weir_store_free(p.store);
        p.store = NULL;
    }
    cr_expect(changed);
    pair_free(&p);
}

Test(base, a_part_has_no_extents_of_references)
{
    struct pair p = pair_new();
    nudge(p.tree, 3);
    pair_pack(&p);
    const struct weir_part_wish wish = {.n_globs = 1, .glob = (const char *const[]){"x"}};
    uint8_t map[8];
    cr_assert_leq(weir_part_map_bytes(p.store), sizeof(map));
    struct weir_diag diag = {""};
    cr_expect_eq(weir_part_select(p.store, &wish, map, &diag), WEIR_OK, "%s", diag.text);
    pair_free(&p);
}
