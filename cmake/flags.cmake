# sc_warnings: for our own sources only. sc_flags: for everything that is linked into a program of ours.
add_library(sc_warnings INTERFACE)
target_compile_options(sc_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wold-style-definition -Wimplicit-fallthrough
  # clang warns of casts in protobuf-c's macros where they are used; gcc does not, and sees the same sources.
  $<$<C_COMPILER_ID:GNU>:-Wcast-qual>
  $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
  $<$<BOOL:${SC_WERROR}>:-Werror>)

add_library(sc_flags INTERFACE)
target_compile_definitions(sc_flags INTERFACE _GNU_SOURCE SC_VERSION="${PROJECT_VERSION}"
  $<$<BOOL:${SC_CRASH_POINTS}>:SC_CRASH_POINTS>)
target_compile_options(sc_flags INTERFACE -fno-omit-frame-pointer -fstack-protector-strong
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
target_link_options(sc_flags INTERFACE -Wl,-z,relro,-z,now -Wl,--as-needed)

if(SC_SANITIZE)
  target_compile_options(sc_flags INTERFACE -fsanitize=${SC_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(sc_flags INTERFACE -fsanitize=${SC_SANITIZE})
endif()
if(SC_FUZZ)
  target_compile_options(sc_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  # Assertions stay on in production: NDEBUG is never set.
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
  target_compile_definitions(sc_flags INTERFACE _FORTIFY_SOURCE=2)
  target_compile_options(sc_flags INTERFACE -fstack-clash-protection -fcf-protection=full)
  target_link_options(sc_flags INTERFACE -pie)
endif()
