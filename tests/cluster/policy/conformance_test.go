// Package policy is what upstream's conformance tests of ClusterNetworkPolicy are run from. Upstream's own program waits
// for servers of SCTP, which the testers' kernel does not have; everything else of it runs here unchanged.
package policy

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"text/template"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/yaml"

	api "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/network-policy-api/conformance"
	reports "sigs.k8s.io/network-policy-api/conformance/apis/v1alpha1"
	"sigs.k8s.io/network-policy-api/conformance/tests"
	util "sigs.k8s.io/network-policy-api/conformance/utils/kubernetes"
	"sigs.k8s.io/network-policy-api/conformance/utils/suite"
)

var (
	report  = flag.String("report", "", "where the conformance report goes")
	version = flag.String("implementation-version", "dev", "the version that the report names")
)

// The ports of servers that use their node's addresses.
var hostPorts = []int{34345, 34346, 34347, 34348, 34349, 34350, 34351, 34352}

func TestConformance(t *testing.T) {
	cfg, err := config.GetConfig()
	if err != nil {
		t.Fatalf("no kubeconfig: %v", err)
	}
	// The tests execute programs in Pods one after the other.
	cfg.QPS, cfg.Burst = 100, 200
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Install(c.Scheme()); err != nil {
		t.Fatal(err)
	}
	var without []string
	for _, test := range tests.ConformanceTests {
		if strings.Contains(test.ShortName, "SCTP") {
			without = append(without, test.ShortName)
		}
	}
	s, err := suite.NewConformanceProfileTestSuite(suite.ConformanceProfileOptions{
		Options: suite.Options{
			Client: c, ClientSet: clients, KubeConfig: *cfg, SkipTests: without, EnableAllSupportedFeatures: true,
		},
		Implementation: reports.Implementation{
			Organization: "midonet", Project: "midonet-kube", URL: "https://github.com/midonet/midonet-kube",
			Version: *version, Contact: []string{"https://github.com/midonet/midonet-kube/issues"},
		},
		ConformanceProfiles: suite.ParseConformanceProfiles("ClusterNetworkPolicy"),
	})
	if err != nil {
		t.Fatal(err)
	}
	names, sets := servers(t, c)
	s.HostNetworkPorts = hostPorts
	s.Applier.FS = conformance.Manifests
	s.Applier.HostNetworkPorts = hostPorts
	util.NamespacesMustBeReady(t, c, s.TimeoutConfig, names, sets)
	s.Run(t, tests.ConformanceTests)
	made, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	if *report != "" {
		text, err := yaml.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*report, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// servers creates upstream's servers but for those of SCTP, and returns their namespaces and StatefulSets. They go when
// the test ends.
func servers(t *testing.T, c client.Client) (namespaces, sets []string) {
	text, err := conformance.Manifests.ReadFile("base/manifests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var filled bytes.Buffer
	data := map[string]any{"HostNetworkPorts": hostPorts}
	if err := template.Must(template.New("").Parse(string(text))).Execute(&filled, data); err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(filled.String(), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatal(err)
		}
		switch object.GetKind() {
		case "Namespace":
			t.Cleanup(func() { remove(t, c, object) })
		case "StatefulSet":
			namespaces = append(namespaces, object.GetNamespace())
			sets = append(sets, object.GetName())
			dropSCTP(t, object)
		}
		if err := c.Create(context.Background(), object); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
	return namespaces, sets
}

func dropSCTP(t *testing.T, set *unstructured.Unstructured) {
	path := []string{"spec", "template", "spec", "containers"}
	all, _, err := unstructured.NestedSlice(set.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	var kept []any
	for _, container := range all {
		text, err := yaml.Marshal(container)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("SCTP")) {
			kept = append(kept, container)
		}
	}
	if len(kept) == len(all) {
		t.Fatalf("StatefulSet %s has no server of SCTP: upstream changed", set.GetName())
	}
	if err := unstructured.SetNestedSlice(set.Object, kept, path...); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, c client.Client, object client.Object) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Delete(ctx, object); err != nil {
		t.Errorf("%s stays: %v", object.GetName(), err)
	}
}
