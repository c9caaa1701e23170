# What Cython is to know of decode.py's names beside what Python knows (`deploy/compile.py`): C's types, in the one loop where they tell.
cimport cython

cdef unsigned int _TEXT, _OPAQUE, _INTEGER, _IPADDR, _CONVERT, _COMPOSITE, _PROXY_STATE, _IGNORE

@cython.locals(
    data="const unsigned char *",
    end="unsigned int",
    at="unsigned int",
    begin="unsigned int",
    kind="unsigned int",
    way="unsigned int",
    ways=bytes,
    keys=list,
    is_field=bytes,
    decimal=list,
    fields=dict,
    attributes=dict,
    store=dict,
    dropped=list,
    proxy_states=list,
    fragments=dict,
)
cpdef decode_accounting(bytes packet)
