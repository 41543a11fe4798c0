// descriptors SET: holds the descriptors of our own .proto files (protoc --descriptor_set_out) against the published ones, from
// the Go modules of the specification and of kubelet: everything that we have must be there with the same name, number, type, label, JSON name and oneof.
package main

import (
	"fmt"
	"os"

	_ "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
	_ "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

var compared, failed int

func differ(where protoreflect.FullName, format string, arguments ...any) {
	failed++
	fmt.Printf("%s: %s\n", where, fmt.Sprintf(format, arguments...))
}

func same[T comparable](where protoreflect.FullName, what string, ours, theirs T) {
	compared++
	if ours != theirs {
		differ(where, "%s is %v, upstream has %v", what, ours, theirs)
	}
}

func upstream[T protoreflect.Descriptor](ours T) (T, bool) {
	var none T
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(ours.FullName())
	if err != nil {
		differ(ours.FullName(), "upstream has no such name")
		return none, false
	}
	theirs, ok := found.(T)
	if !ok {
		differ(ours.FullName(), "is something else upstream")
	}
	return theirs, ok
}

func typeName(field protoreflect.FieldDescriptor) protoreflect.FullName {
	switch {
	case field.Message() != nil:
		return field.Message().FullName()
	case field.Enum() != nil:
		return field.Enum().FullName()
	}
	return ""
}

func oneofName(field protoreflect.FieldDescriptor) protoreflect.Name {
	if field.ContainingOneof() == nil {
		return ""
	}
	return field.ContainingOneof().Name()
}

func compareField(ours protoreflect.FieldDescriptor) {
	theirs, ok := upstream(ours)
	if !ok {
		return
	}
	name := ours.FullName()
	same(name, "number", ours.Number(), theirs.Number())
	same(name, "kind", ours.Kind(), theirs.Kind())
	same(name, "label", ours.Cardinality(), theirs.Cardinality())
	same(name, "JSON name", ours.JSONName(), theirs.JSONName())
	same(name, "map", ours.IsMap(), theirs.IsMap())
	same(name, "packed", ours.IsPacked(), theirs.IsPacked())
	same(name, "type", typeName(ours), typeName(theirs))
	same(name, "oneof", oneofName(ours), oneofName(theirs))
}

func compareEnum(ours protoreflect.EnumDescriptor) {
	theirs, ok := upstream(ours)
	if !ok {
		return
	}
	for i := range ours.Values().Len() {
		value := ours.Values().Get(i)
		found := theirs.Values().ByName(value.Name())
		if found == nil {
			differ(value.FullName(), "upstream has no such value")
			continue
		}
		same(value.FullName(), "number", value.Number(), found.Number())
	}
}

func compareMessage(ours protoreflect.MessageDescriptor) {
	if _, ok := upstream(ours); !ok {
		return
	}
	for i := range ours.Fields().Len() {
		compareField(ours.Fields().Get(i))
	}
	for i := range ours.Messages().Len() {
		compareMessage(ours.Messages().Get(i))
	}
	for i := range ours.Enums().Len() {
		compareEnum(ours.Enums().Get(i))
	}
}

func compareMethod(ours protoreflect.MethodDescriptor) {
	theirs, ok := upstream(ours)
	if !ok {
		return
	}
	same(ours.FullName(), "request", ours.Input().FullName(), theirs.Input().FullName())
	same(ours.FullName(), "reply", ours.Output().FullName(), theirs.Output().FullName())
	same(ours.FullName(), "client stream", ours.IsStreamingClient(), theirs.IsStreamingClient())
	same(ours.FullName(), "server stream", ours.IsStreamingServer(), theirs.IsStreamingServer())
}

func compareFile(file protoreflect.FileDescriptor) {
	for i := range file.Messages().Len() {
		compareMessage(file.Messages().Get(i))
	}
	for i := range file.Enums().Len() {
		compareEnum(file.Enums().Get(i))
	}
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		for j := range service.Methods().Len() {
			compareMethod(service.Methods().Get(j))
		}
	}
}

func main() {
	data, err := os.ReadFile(os.Args[1])
	set := &descriptorpb.FileDescriptorSet{}
	if err == nil {
		err = proto.Unmarshal(data, set)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	for _, service := range []protoreflect.FullName{"csi.v1.Node", "pluginregistration.Registration"} {
		if _, err := files.FindDescriptorByName(service); err != nil {
			differ(service, "we do not have it")
		}
	}
	files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		compareFile(file)
		return true
	})
	fmt.Printf("%d facts compared, %d differ\n", compared, failed)
	if failed > 0 || compared < 500 {
		os.Exit(1)
	}
}
