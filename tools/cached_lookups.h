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

#define KEPT_PAIRS 512 /* a power of two; a module has a few hundred look-ups */

struct kept_attribute {
    PyObject *name;
    Py_ssize_t offset; /* of the slot; 0 for what is none */
    PyObject *constant; /* what the class alone holds, and keeps while its version is this one; else NULL */
    unsigned int type_version; /* never given to another type; 0 is that of none */
};

struct kept_global {
    PyObject *value; /* the dict holds it while its version is this one */
    PyObject *key;
    uint64_t dict_version; /* never given to another dict */
};

/* Two places for each, the latest first: where addresses fall on one another two do not drive each other out. */
static struct kept_attribute kept_attributes[KEPT_PAIRS][2];
static struct kept_attribute kept_settings[KEPT_PAIRS][2]; /* of attributes that are set */
static struct kept_global kept_globals[KEPT_PAIRS][2];

static inline size_t place_of(const void *owner, const void *name) {
    return (((uintptr_t)owner >> 4) + ((uintptr_t)name >> 4) * 31) % KEPT_PAIRS;
}

static inline int is_constant_name(PyObject *name) {
    return PyUnicode_CheckExact(name) && PyUnicode_CHECK_INTERNED(name);
}

/* Offset of a slot without one of these flags; 0 for any other attribute. */
static Py_ssize_t offset_without(PyTypeObject *type, PyObject *name, int flags) {
    PyObject *found = _PyType_Lookup(type, name);
    if (found == NULL || !Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        return 0;
    }
    PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
    return member->type == T_OBJECT_EX && !(member->flags & flags) ? member->offset : 0;
}

/* Offset of a slot in a class that nothing intercepts; 0 for any other attribute. */
static Py_ssize_t slot_offset(PyTypeObject *type, PyObject *name) {
    int is_plain = type->tp_getattro == PyObject_GenericGetAttr && is_constant_name(name);
    return is_plain ? offset_without(type, name, READ_RESTRICTED) : 0;
}

static void keep_attribute(
    struct kept_attribute *pair, PyTypeObject *type, PyObject *name, Py_ssize_t offset, PyObject *constant
) {
    if (type->tp_version_tag != 0 && PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) {
        PyObject *dropped = pair[1].name;
        pair[1] = pair[0];
        pair[0] = (struct kept_attribute){Py_NewRef(name), offset, constant, type->tp_version_tag};
        Py_XDECREF(dropped);
    }
}

/* What is kept of an attribute; NULL for nothing. */
static inline const struct kept_attribute *kept(
    const struct kept_attribute *pair, PyTypeObject *type, PyObject *name
) {
    unsigned int version = type->tp_version_tag;
    if (pair[0].name == name && pair[0].type_version == version) {
        return &pair[0];
    }
    return pair[1].name == name && pair[1].type_version == version ? &pair[1] : NULL;
}

/* A value of the class that no instance replaces and that makes nothing of being asked for; else NULL. */
static PyObject *class_constant(PyTypeObject *type, PyObject *name) {
    if (type->tp_getattro != PyObject_GenericGetAttr || type->tp_dictoffset || !is_constant_name(name)) {
        return NULL;
    }
    PyObject *found = _PyType_Lookup(type, name);
    return found != NULL && Py_TYPE(found)->tp_descr_get == NULL ? found : NULL;
}

static PyObject *attribute_by_look_up(PyObject *object, PyObject *name, struct kept_attribute *pair) {
    PyTypeObject *type = Py_TYPE(object);
    keep_attribute(pair, type, name, slot_offset(type, name), class_constant(type, name));
    return PyObject_GetAttr(object, name);
}

static inline PyObject *attribute_of(PyObject *object, PyObject *name) {
    PyTypeObject *type = Py_TYPE(object);
    struct kept_attribute *pair = kept_attributes[place_of(type, name)];
    const struct kept_attribute *known = kept(pair, type, name);
    if (known == NULL) {
        return attribute_by_look_up(object, name, pair);
    }
    PyObject *value = known->offset ? *(PyObject **)((char *)object + known->offset) : known->constant;
    return value != NULL ? Py_NewRef(value) : PyObject_GetAttr(object, name);
}

static inline PyObject *item_of(PyObject *dict, PyObject *key) {
    if (!is_constant_name(key) || !PyDict_CheckExact(dict)) {
        return CPyDict_GetItem(dict, key);
    }
    struct kept_global *pair = kept_globals[place_of(dict, key)];
    uint64_t version = ((PyDictObject *)dict)->ma_version_tag;
    for (int place = 0; place < 2; place++) {
        if (pair[place].key == key && pair[place].dict_version == version) {
            return Py_NewRef(pair[place].value);
        }
    }
    PyObject *value = CPyDict_GetItem(dict, key);
    if (value != NULL) {
        PyObject *dropped = pair[1].key;
        pair[1] = pair[0];
        pair[0] = (struct kept_global){value, Py_NewRef(key), version};
        Py_XDECREF(dropped);
    }
    return value;
}

/* A struct whose fields may be set, and that the garbage collector does not follow: nothing happens but that. */
static int is_plain_struct(PyTypeObject *type) {
    static PyObject *setter_name = NULL;
    if (PyType_HasFeature(type, Py_TPFLAGS_HAVE_GC)) {
        return 0;
    }
    if (setter_name == NULL && (setter_name = PyUnicode_InternFromString("__setattr__")) == NULL) {
        PyErr_Clear();
        return 0;
    }
    PyObject *setter = _PyType_Lookup(type, setter_name); /* one of Python's own intercepts */
    PyObject *config = PyObject_GetAttrString((PyObject *)type, "__struct_config__");
    PyObject *frozen = config == NULL ? NULL : PyObject_GetAttrString(config, "frozen");
    int is_plain = setter != NULL && Py_IS_TYPE(setter, &PyWrapperDescr_Type) && frozen == Py_False;
    Py_XDECREF(config);
    Py_XDECREF(frozen);
    PyErr_Clear();
    return is_plain;
}

/* Offset of a slot that setting the attribute fills, and no more; 0 for any other. */
static Py_ssize_t settable_offset(PyTypeObject *type, PyObject *name) {
    int is_plain = type->tp_setattro == PyObject_GenericSetAttr || is_plain_struct(type);
    return is_plain && is_constant_name(name) ? offset_without(type, name, READONLY) : 0;
}

static int set_by_look_up(PyObject *object, PyObject *name, PyObject *value, struct kept_attribute *pair) {
    PyTypeObject *type = Py_TYPE(object);
    keep_attribute(pair, type, name, settable_offset(type, name), NULL);
    return PyObject_SetAttr(object, name, value);
}

static inline int set_attribute_of(PyObject *object, PyObject *name, PyObject *value) {
    PyTypeObject *type = Py_TYPE(object);
    struct kept_attribute *pair = kept_settings[place_of(type, name)];
    const struct kept_attribute *known = kept(pair, type, name);
    if (known == NULL) {
        return set_by_look_up(object, name, value, pair);
    }
    if (known->offset == 0 || value == NULL) {
        return PyObject_SetAttr(object, name, value);
    }
    PyObject **slot = (PyObject **)((char *)object + known->offset);
    Py_INCREF(value);
    Py_XSETREF(*slot, value);
    return 0;
}

#undef CPyObject_GetAttr
#define CPyObject_GetAttr(object, name) attribute_of((object), (name))
#define CPyDict_GetItem(dict, key) item_of((dict), (key))
#define PyObject_SetAttr(object, name, value) set_attribute_of((object), (name), (value))

#endif
#endif
