/* Vectors, the types of values and of externals, and wrong arguments. */
#include "check.h"

static void vectors(void) {
  wasm_name_t name, copy, empty;
  wasm_name_new_from_string(&name, "name");
  CHECK(name.size == 4 && memcmp(name.data, "name", 4) == 0);
  wasm_name_copy(&copy, &name);
  CHECK(copy.size == 4 && copy.data != name.data);
  wasm_name_delete(&copy);
  CHECK(copy.size == 0 && copy.data == NULL);
  wasm_name_delete(&copy);
  wasm_name_new_from_string_nt(&empty, "");
  CHECK(empty.size == 1 && empty.data[0] == 0);
  wasm_name_delete(&empty);
  wasm_name_new_empty(&empty);
  CHECK(empty.size == 0);
  wasm_name_delete(&name);

  wasm_valtype_vec_t types, types_copy;
  wasm_valtype_vec_new_uninitialized(&types, 2);
  CHECK(types.size == 2 && !types.data[0]);
  types.data[0] = wasm_valtype_new_i32();
  types.data[1] = wasm_valtype_new_externref();
  wasm_valtype_vec_copy(&types_copy, &types);
  wasm_valtype_vec_delete(&types);
  CHECK(wasm_valtype_kind(types_copy.data[1]) == WASM_EXTERNREF);
  wasm_valtype_vec_delete(&types_copy);
  CHECK_FAILED((wasm_byte_vec_new(&name, 3, NULL), name.size == 0), "NULL");
  CHECK_FAILED((wasm_byte_vec_copy(&name, NULL), name.size == 0), "NULL");
}

static void values(wasm_engine_t* engine) {
  wasm_valkind_t kinds[] = {WASM_I32, WASM_I64, WASM_F32, WASM_F64, RECLAIM_V128, WASM_EXTERNREF,
                            WASM_FUNCREF, RECLAIM_ANYREF, RECLAIM_EXNREF};
  const char* names[] = {"i32", "i64", "f32", "f64", "v128", "externref", "funcref", "anyref", "exnref"};
  for (size_t i = 0; i < sizeof kinds; i++) {
    wasm_valtype_t* type = wasm_valtype_new(kinds[i]);
    CHECK(type && wasm_valtype_kind(type) == kinds[i]);
    CHECK(wasm_valtype_is_ref(type) == (i >= 5) && wasm_valtype_is_num(type) == (i < 5));
    wasm_name_t text;
    reclaim_valtype_to_string(type, &text);
    CHECK(strcmp(text.data, names[i]) == 0);
    wasm_name_delete(&text);
    wasm_valtype_t* copy = wasm_valtype_copy(type);
    CHECK(reclaim_valtype_matches(copy, type) && reclaim_valtype_matches(type, copy));
    wasm_valtype_delete(copy);
    wasm_valtype_delete(type);
  }
  CHECK_FAILED(!wasm_valtype_new(5), "no kind");
  CHECK_FAILED(!wasm_valtype_new(132), "no kind");
  CHECK_FAILED(!reclaim_valtype_new_ref(12, true), "no heap type");

  reclaim_fieldtype_t fields[] = {{RECLAIM_STORAGE_I8, WASM_VAR, NULL},
                                  {RECLAIM_STORAGE_VALUE, WASM_CONST, wasm_valtype_new_f64()},
                                  {RECLAIM_STORAGE_I16, WASM_VAR, NULL}};
  reclaim_gctype_t* structs = reclaim_structtype_new(engine, fields, 3);
  reclaim_gctype_t* arrays = reclaim_arraytype_new(engine, &fields[1]);
  wasm_valtype_delete(fields[1].type);
  CHECK(structs && arrays && !reclaim_gctype_is_array(structs) && reclaim_gctype_is_array(arrays));
  CHECK(reclaim_gctype_field_count(structs) == 3 && reclaim_gctype_field_count(arrays) == 1);
  reclaim_fieldtype_t field;
  CHECK(reclaim_gctype_field(structs, 2, &field) && field.storage == RECLAIM_STORAGE_I16);
  CHECK(field.mutability == WASM_VAR && !field.type);
  CHECK(reclaim_gctype_field(arrays, 0, &field) && field.mutability == WASM_CONST);
  CHECK(wasm_valtype_kind(field.type) == WASM_F64);
  wasm_valtype_delete(field.type);
  CHECK_FAILED(!reclaim_gctype_field(arrays, 1, &field), "no field 1");
  wasm_valtype_t* nullable = reclaim_valtype_new_concrete(structs, true);
  wasm_valtype_t* strict = reclaim_valtype_new_concrete(structs, false);
  wasm_valtype_t* any_struct = reclaim_valtype_new_ref(RECLAIM_HEAP_STRUCT, true);
  CHECK(reclaim_valtype_matches(strict, nullable) && !reclaim_valtype_matches(nullable, strict));
  CHECK(reclaim_valtype_matches(strict, any_struct) && !reclaim_valtype_matches(any_struct, strict));
  CHECK(wasm_valtype_kind(strict) == RECLAIM_ANYREF);
  reclaim_gctype_t* same = reclaim_valtype_gctype(strict);
  CHECK(same && reclaim_gctype_field_count(same) == 3 && !reclaim_valtype_gctype(any_struct));
  reclaim_gctype_t* copy = reclaim_gctype_copy(same);
  reclaim_gctype_delete(same);
  reclaim_gctype_delete(copy);
  wasm_engine_t* other = wasm_engine_new();
  reclaim_fieldtype_t foreign = {RECLAIM_STORAGE_VALUE, WASM_VAR, strict};
  CHECK_FAILED(!reclaim_arraytype_new(other, &foreign), "another engine");
  foreign.storage = 9;
  CHECK_FAILED(!reclaim_arraytype_new(engine, &foreign), "no way to store");
  foreign.storage = RECLAIM_STORAGE_VALUE;
  foreign.type = NULL;
  CHECK_FAILED(!reclaim_structtype_new(engine, &foreign, 1), "field 0");
  wasm_engine_delete(other);
  wasm_valtype_delete(nullable);
  wasm_valtype_delete(strict);
  wasm_valtype_delete(any_struct);
  reclaim_gctype_delete(structs);
  reclaim_gctype_delete(arrays);
}

static void externals(void) {
  wasm_functype_t* func = wasm_functype_new_3_2(wasm_valtype_new_i32(), wasm_valtype_new_i64(),
                                                wasm_valtype_new_f32(), wasm_valtype_new_f64(),
                                                wasm_valtype_new_funcref());
  CHECK(func && wasm_functype_params(func)->size == 3 && wasm_functype_results(func)->size == 2);
  CHECK(wasm_valtype_kind(wasm_functype_results(func)->data[1]) == WASM_FUNCREF);
  wasm_externtype_t* as_extern = wasm_functype_as_externtype(func);
  CHECK(wasm_externtype_kind(as_extern) == WASM_EXTERN_FUNC);
  CHECK(wasm_externtype_as_functype(as_extern) == func && !wasm_externtype_as_tabletype(as_extern));
  CHECK(wasm_externtype_as_functype_const(wasm_functype_as_externtype_const(func)) == func);
  wasm_externtype_t* copy = wasm_externtype_copy(as_extern);
  wasm_functype_delete(func);
  CHECK(wasm_functype_params(wasm_externtype_as_functype(copy))->size == 3);
  CHECK(!wasm_externtype_as_tagtype(copy));
  wasm_externtype_delete(copy);
  func = wasm_functype_new_0_0();
  CHECK(wasm_functype_params(func)->size == 0);
  wasm_functype_delete(func);

  wasm_tagtype_t* tag = wasm_tagtype_new(wasm_functype_new_1_0(wasm_valtype_new_i64()));
  CHECK(tag && wasm_functype_results(wasm_tagtype_functype(tag))->size == 0);
  CHECK(wasm_valtype_kind(wasm_functype_params(wasm_tagtype_functype(tag))->data[0]) == WASM_I64);
  CHECK(wasm_externtype_kind(wasm_tagtype_as_externtype(tag)) == WASM_EXTERN_TAG);
  CHECK(wasm_externtype_as_tagtype(wasm_tagtype_as_externtype(tag)) == tag);
  CHECK(wasm_externtype_as_tagtype_const(wasm_tagtype_as_externtype_const(tag)) == tag);
  CHECK(!wasm_externtype_as_functype(wasm_tagtype_as_externtype(tag)));
  wasm_tagtype_t* tags[] = {wasm_tagtype_copy(tag), tag};
  wasm_tagtype_vec_t tag_vec;
  wasm_tagtype_vec_new(&tag_vec, 2, tags);
  wasm_tagtype_vec_delete(&tag_vec);
  CHECK_FAILED(!wasm_tagtype_new(wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32())),
               "no results, but 1");
  CHECK_FAILED(!wasm_tagtype_new(NULL), "NULL");

  wasm_globaltype_t* global = wasm_globaltype_new(wasm_valtype_new_i64(), WASM_VAR);
  CHECK(wasm_globaltype_mutability(global) == WASM_VAR);
  CHECK(wasm_valtype_kind(wasm_globaltype_content(global)) == WASM_I64);
  CHECK(wasm_externtype_as_globaltype(wasm_globaltype_as_externtype(global)) == global);
  wasm_globaltype_delete(global);
  CHECK_FAILED(!wasm_globaltype_new(wasm_valtype_new_i64(), 2), "no mutability");

  wasm_limits_t limits = {1, wasm_limits_max_default};
  wasm_tabletype_t* table = wasm_tabletype_new(wasm_valtype_new_funcref(), &limits);
  CHECK(wasm_tabletype_limits(table)->min == 1);
  CHECK(wasm_tabletype_limits(table)->max == wasm_limits_max_default && !reclaim_tabletype_is_64(table));
  CHECK(wasm_valtype_kind(wasm_tabletype_element(table)) == WASM_FUNCREF);
  wasm_tabletype_delete(table);
  CHECK_FAILED(!wasm_tabletype_new(wasm_valtype_new_i32(), &limits), "references");

  limits.max = 5;
  wasm_memorytype_t* memory = wasm_memorytype_new(&limits);
  CHECK(wasm_memorytype_limits(memory)->max == 5 && !reclaim_memorytype_is_64(memory));
  CHECK(wasm_externtype_kind(wasm_memorytype_as_externtype(memory)) == WASM_EXTERN_MEMORY);
  limits.min = 100000;
  CHECK_FAILED(!wasm_memorytype_new(&limits), "");

  wasm_name_t module, name;
  wasm_name_new_from_string(&module, "m");
  wasm_name_new_from_string(&name, "n");
  wasm_importtype_t* import = wasm_importtype_new(&module, &name, wasm_memorytype_as_externtype(memory));
  CHECK(import && module.size == 0);
  CHECK(wasm_importtype_module(import)->data[0] == 'm' && wasm_importtype_name(import)->data[0] == 'n');
  CHECK(wasm_externtype_kind(wasm_importtype_type(import)) == WASM_EXTERN_MEMORY);
  wasm_importtype_delete(import);
  wasm_name_new_from_string(&name, "n");
  wasm_exporttype_t* exported =
      wasm_exporttype_new(&name, wasm_globaltype_as_externtype(wasm_globaltype_new(wasm_valtype_new_f32(), 0)));
  wasm_exporttype_t* another = wasm_exporttype_copy(exported);
  wasm_exporttype_delete(exported);
  CHECK(wasm_exporttype_name(another)->size == 1);
  CHECK(wasm_externtype_kind(wasm_exporttype_type(another)) == WASM_EXTERN_GLOBAL);
  wasm_exporttype_delete(another);
}

/* The heap types, and which of them are part of which. */
static void heap_types(wasm_engine_t* engine) {
  const char* names[] = {"externref", "nullexternref", "funcref", "nullfuncref", "anyref", "eqref",
                         "i31ref", "structref", "arrayref", "nullref", "exnref", "nullexnref"};
  const reclaim_heaptype_t tops[] = {0, 0, 2, 2, 4, 4, 4, 4, 4, 4, 10, 10};
  const wasm_valkind_t kinds[] = {WASM_EXTERNREF, WASM_FUNCREF, RECLAIM_ANYREF, RECLAIM_EXNREF};
  for (reclaim_heaptype_t i = 0; i < 12; i++) {
    wasm_valtype_t* nullable = reclaim_valtype_new_ref(i, true);
    wasm_valtype_t* strict = reclaim_valtype_new_ref(i, false);
    CHECK(nullable && strict && wasm_valtype_is_ref(nullable) && !reclaim_valtype_gctype(nullable));
    size_t kind = tops[i] == 10 ? 3 : tops[i] / 2u;
    CHECK(wasm_valtype_kind(nullable) == kinds[kind] && wasm_valtype_kind(strict) == kinds[kind]);
    CHECK(reclaim_valtype_matches(strict, nullable) && !reclaim_valtype_matches(nullable, strict));
    wasm_name_t text;
    reclaim_valtype_to_string(nullable, &text);
    CHECK(text.data[text.size - 1] == 0);
    if (strcmp(text.data, names[i]) != 0) printf("%s instead of %s\n", text.data, names[i]);
    CHECK(strcmp(text.data, names[i]) == 0);
    wasm_name_delete(&text);
    for (reclaim_heaptype_t j = 0; j < 12; j++) {
      wasm_valtype_t* other = reclaim_valtype_new_ref(j, true);
      bool eq = j == RECLAIM_HEAP_EQ && i >= RECLAIM_HEAP_EQ && i <= RECLAIM_HEAP_NONE;
      bool bottom = i == RECLAIM_HEAP_NOEXTERN || i == RECLAIM_HEAP_NOFUNC || i == RECLAIM_HEAP_NONE ||
                    i == RECLAIM_HEAP_NOEXN;
      bool expected = i == j || j == tops[i] || eq || (bottom && tops[i] == tops[j]);
      CHECK(reclaim_valtype_matches(nullable, other) == expected);
      wasm_valtype_delete(other);
    }
    wasm_valtype_delete(nullable);
    wasm_valtype_delete(strict);
  }
  wasm_valtype_t* number = wasm_valtype_new_i32();
  CHECK(!reclaim_valtype_gctype(number));
  wasm_valtype_delete(number);

  /* Equal types are one type. */
  reclaim_fieldtype_t element = {RECLAIM_STORAGE_I8, WASM_VAR, NULL};
  reclaim_gctype_t* a = reclaim_arraytype_new(engine, &element);
  reclaim_gctype_t* b = reclaim_arraytype_new(engine, &element);
  element.mutability = WASM_CONST;
  reclaim_gctype_t* c = reclaim_arraytype_new(engine, &element);
  wasm_valtype_t* types[] = {reclaim_valtype_new_concrete(a, true), reclaim_valtype_new_concrete(b, true),
                             reclaim_valtype_new_concrete(c, true)};
  CHECK(reclaim_valtype_matches(types[0], types[1]) && reclaim_valtype_matches(types[1], types[0]));
  CHECK(!reclaim_valtype_matches(types[0], types[2]) && !reclaim_valtype_matches(types[2], types[0]));
  wasm_name_t text;
  reclaim_valtype_to_string(types[0], &text);
  CHECK(text.size > 1 && strstr(text.data, "ref"));
  wasm_name_delete(&text);
  wasm_valtype_vec_t vector, copy;
  wasm_valtype_vec_new(&vector, 3, types);
  reclaim_gctype_delete(a);
  reclaim_gctype_delete(b);
  reclaim_gctype_delete(c);
  wasm_valtype_vec_copy(&copy, &vector);
  wasm_valtype_vec_delete(&vector);
  a = reclaim_valtype_gctype(copy.data[2]);
  reclaim_fieldtype_t field;
  CHECK(a && reclaim_gctype_field(a, 0, &field) && field.storage == RECLAIM_STORAGE_I8);
  CHECK(field.mutability == WASM_CONST && !field.type);
  reclaim_gctype_delete(a);
  wasm_valtype_vec_delete(&copy);

  element.mutability = 2;
  CHECK_FAILED(!reclaim_arraytype_new(engine, &element), "no mutability");
  CHECK_FAILED(!reclaim_structtype_new(engine, NULL, 1), "NULL");
  CHECK_FAILED(!reclaim_structtype_new(NULL, NULL, 0), "NULL");
  CHECK_FAILED(!reclaim_arraytype_new(engine, NULL), "NULL");
  CHECK_FAILED(!reclaim_valtype_new_concrete(NULL, true), "NULL");
  CHECK_FAILED(!reclaim_gctype_is_array(NULL), "NULL");
  CHECK_FAILED(reclaim_gctype_field_count(NULL) == 0, "NULL");
}

/* Arguments that are wrong or missing. What is taken over is deleted nevertheless. */
static void mistakes(void) {
  wasm_limits_t limits = {1, 2};
  CHECK_FAILED(!wasm_globaltype_new(NULL, WASM_VAR), "NULL");
  CHECK_FAILED(!wasm_tabletype_new(NULL, &limits), "NULL");
  CHECK_FAILED(!wasm_tabletype_new(wasm_valtype_new_funcref(), NULL), "NULL");
  CHECK_FAILED(!wasm_memorytype_new(NULL), "NULL");
  CHECK_FAILED(!wasm_importtype_new(NULL, NULL, NULL), "NULL");
  CHECK_FAILED(!wasm_exporttype_new(NULL, NULL), "NULL");
  CHECK_FAILED(!wasm_functype_new(NULL, NULL), "NULL");
  wasm_valtype_vec_t params, results;
  wasm_valtype_vec_new_uninitialized(&params, 2);
  params.data[0] = wasm_valtype_new_i32();
  wasm_valtype_vec_new_empty(&results);
  CHECK_FAILED(!wasm_functype_new(&params, &results), "params[1]");
  CHECK(params.size == 0 && !params.data);
  CHECK_FAILED(!wasm_functype_params(NULL), "NULL");
  CHECK_FAILED(!wasm_globaltype_content(NULL), "NULL");
  CHECK_FAILED(wasm_valtype_kind(NULL) == 0, "NULL");
  wasm_name_t text;
  CHECK_FAILED((reclaim_valtype_to_string(NULL, &text), text.size == 0), "NULL");
  /* NULL is deleted, copied and cast to NULL. */
  wasm_valtype_delete(NULL);
  wasm_functype_delete(NULL);
  wasm_externtype_delete(NULL);
  reclaim_gctype_delete(NULL);
  wasm_val_delete(NULL);
  wasm_valtype_vec_delete(NULL);
  CHECK(!wasm_valtype_copy(NULL) && !wasm_tabletype_copy(NULL) && !reclaim_gctype_copy(NULL));
  CHECK(!wasm_functype_as_externtype(NULL) && !wasm_externtype_as_globaltype_const(NULL));
}

int main(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  vectors();
  values(engine);
  heap_types(engine);
  externals();
  mistakes();
  wasm_engine_delete(engine);
  wasm_message_t none;
  CHECK(!reclaim_last_error(&none) && none.size == 0);
  return 0;
}
