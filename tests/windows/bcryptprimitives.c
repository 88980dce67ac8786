/* For `make check-windows`: a DLL that Windows has and wine has only since version 9. Rust's standard library takes its
   random numbers from its one function. */

#include <windows.h>

/* Windows calls it RtlGenRandom: a name for SystemFunction036 of advapi32.dll, which wine has. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG size);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T size)
{
    while (size > 0) {
        ULONG part = size < 0x10000000 ? (ULONG)size : 0x10000000;
        if (!SystemFunction036(buffer, part))
            return FALSE;
        buffer += part;
        size -= part;
    }
    return TRUE;
}
