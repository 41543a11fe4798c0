# Every .proto of the tree becomes a .pb-c.c/.pb-c.h below gen/ with its folder's name, in one library.
find_program(PROTOC_C protoc-c REQUIRED)
set(proto_sources)
foreach(folder csi/proto cachecore/proto)
  file(GLOB_RECURSE protos CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/${folder} ${CMAKE_SOURCE_DIR}/${folder}/*.proto)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gen/${folder})
  foreach(proto ${protos})
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${proto})
    set(out ${CMAKE_BINARY_DIR}/gen/${folder}/${stem})
    add_custom_command(OUTPUT ${out}.c ${out}.h
      COMMAND ${PROTOC_C} --c_out=${CMAKE_BINARY_DIR}/gen/${folder} -I${CMAKE_SOURCE_DIR}/${folder} ${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/${proto} VERBATIM)
    list(APPEND proto_sources ${out}.c ${out}.h)
  endforeach()
endforeach()
add_library(sc_proto STATIC ${proto_sources})
target_include_directories(sc_proto SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/gen)
target_link_libraries(sc_proto PUBLIC sc_flags PkgConfig::PROTOBUFC)
# protobuf-c's generated sources include each other without a folder name.
foreach(folder csi/proto cachecore/proto)
  target_include_directories(sc_proto PRIVATE ${CMAKE_BINARY_DIR}/gen/${folder})
endforeach()
