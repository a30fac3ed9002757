/* Look-ups of attributes and globals in the compiled modules, remembered as the interpreter of 3.11 does.
 *
 * mypyc asks Python for every attribute of a msgspec.Struct (about 105 instructions) and for every global that
 * is not its own (about 130): a third of what an order of the dead-band work costs. Python counts the changes
 * of types and of dicts: while the number is as it was, an attribute lies where it lay and a global is what it
 * was. Other versions of Python than 3.11 have other fields for this; there the look-ups stay as mypyc has them.
 */
#ifndef SCALPDESK_CACHED_LOOKUPS_H
#define SCALPDESK_CACHED_LOOKUPS_H

#include <Python.h>
#include <structmember.h>
#include "CPy.h"

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000

#define KEPT_LOOKUPS 1024 /* a power of two; a module has a few hundred */

static struct {
    PyObject *name;
    Py_ssize_t offset; /* of the slot; 0 for what is none */
    unsigned int type_version; /* never given to another type; 0 is that of none */
} kept_attributes[KEPT_LOOKUPS];

static struct {
    PyObject *value; /* the dict holds it while its version is this one */
    PyObject *key;
    uint64_t dict_version; /* never given to another dict */
} kept_globals[KEPT_LOOKUPS];

static inline size_t place_of(const void *owner, const void *name) {
    return (((uintptr_t)owner >> 4) + ((uintptr_t)name >> 4) * 31) % KEPT_LOOKUPS;
}

static inline int is_constant_name(PyObject *name) {
    return PyUnicode_CheckExact(name) && PyUnicode_CHECK_INTERNED(name);
}

/* Offset of a slot in a class that nothing intercepts; 0 for any other attribute. */
static Py_ssize_t slot_offset(PyTypeObject *type, PyObject *name) {
    if (type->tp_getattro != PyObject_GenericGetAttr || !is_constant_name(name)) {
        return 0;
    }
    PyObject *found = _PyType_Lookup(type, name);
    if (found == NULL || !Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        return 0;
    }
    PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
    return member->type == T_OBJECT_EX && !(member->flags & READ_RESTRICTED) ? member->offset : 0;
}

static PyObject *attribute_by_look_up(PyObject *object, PyObject *name, size_t place) {
    PyTypeObject *type = Py_TYPE(object);
    Py_ssize_t offset = slot_offset(type, name);
    if (type->tp_version_tag != 0 && PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) {
        Py_INCREF(name);
        Py_XSETREF(kept_attributes[place].name, name);
        kept_attributes[place].offset = offset;
        kept_attributes[place].type_version = type->tp_version_tag;
    }
    return PyObject_GetAttr(object, name);
}

static inline PyObject *attribute_of(PyObject *object, PyObject *name) {
    PyTypeObject *type = Py_TYPE(object);
    size_t place = place_of(type, name);
    if (kept_attributes[place].name == name && kept_attributes[place].type_version == type->tp_version_tag) {
        Py_ssize_t offset = kept_attributes[place].offset;
        PyObject *value = offset ? *(PyObject **)((char *)object + offset) : NULL;
        return value != NULL ? Py_NewRef(value) : PyObject_GetAttr(object, name);
    }
    return attribute_by_look_up(object, name, place);
}

static inline PyObject *item_of(PyObject *dict, PyObject *key) {
    if (!is_constant_name(key) || !PyDict_CheckExact(dict)) {
        return CPyDict_GetItem(dict, key);
    }
    size_t place = place_of(dict, key);
    uint64_t version = ((PyDictObject *)dict)->ma_version_tag;
    if (kept_globals[place].key == key && kept_globals[place].dict_version == version) {
        return Py_NewRef(kept_globals[place].value);
    }
    PyObject *value = CPyDict_GetItem(dict, key);
    if (value != NULL) {
        Py_INCREF(key);
        Py_XSETREF(kept_globals[place].key, key);
        kept_globals[place].value = value;
        kept_globals[place].dict_version = version;
    }
    return value;
}

#undef CPyObject_GetAttr
#define CPyObject_GetAttr(object, name) attribute_of((object), (name))
#define CPyDict_GetItem(dict, key) item_of((dict), (key))

#endif
#endif
