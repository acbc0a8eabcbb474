/* SPDX-License-Identifier: MIT
 *
 * json.h -- reading JSON by cJSON, with the checks that it leaves out.
 */
#ifndef LA_JSON_H
#define LA_JSON_H

#include "lualign.h"

typedef struct cJSON la_json; /* owned by its root, which la__json_free frees */

/* All of `text` (n bytes) as one value. What is no JSON, a "\u0000" in a string and a number that is not finite are
 * LA_EFORMAT; messages start with `what` and give the byte. */
int la__json_parse(la_json **out, const char *text, size_t n, const char *what);
void la__json_free(la_json **json);

typedef enum la_json_kind {
    LA_JSON_NULL,
    LA_JSON_FALSE,
    LA_JSON_TRUE,
    LA_JSON_NUMBER,
    LA_JSON_STRING,
    LA_JSON_ARRAY,
    LA_JSON_OBJECT
} la_json_kind;

la_json_kind la__json_kind(const la_json *json);
double la__json_number(const la_json *json);
const char *la__json_string(const la_json *json);
const char *la__json_key(const la_json *json);      /* of a member of an object */
const la_json *la__json_first(const la_json *json); /* of an array's or object's members, NULL if it has none */
const la_json *la__json_next(const la_json *json);  /* the one after it, NULL at the end */

/* Where the first byte that is no UTF-8 is, counted from 1; 0 if all is well. */
size_t la__utf8_fault(const char *text, size_t n);

#endif
