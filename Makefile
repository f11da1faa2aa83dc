# make lab up LAB=three-node MODE=vxlan: builds bin/lab and runs it as you are, without sudo. "make help" lists the rest.
LAB   ?= three-node
MODE  ?=
ARGS  ?=
SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
asroot = $(SUDO) env "PATH=$$PATH" "HOME=$$HOME"
SHELL := /bin/bash
as    := $(shell [ "$$(id -u)" = 0 ] && echo "as root" || echo "as $$(id -un), without root: in namespaces of your own; \"sudo make\" works as root")
mode  := $(if $(MODE),--mode $(MODE))
tell   = tee bin/$1.log | awk '/^=== (RUN|NAME|CONT)/ {test=$$3} /^ +[a-z0-9_]+\.go:[0-9]+: / {why[test]=$$0} \
  /--- SKIP/ {print; print why[$$3]} /^(ok|FAIL|panic:)/ {print} {fflush()}'
explain = { grep -vE '^(=== |ok|\?|PASS)|--- PASS' bin/$1.log | tail -n 200; exit 1; }
# The packages' tests run side by side, each in namespaces of its own.
gotest = go test -exec "'$(CURDIR)/testbed/suite/alone'" -count=1 -v
space := $(subst ,, )

# The release is the newest heading of the changelog.
RELEASE := $(shell sed -n 's/^\#\# \(v[0-9.]*\)$$/\1/p' CHANGELOG.md | head -n 1)
ldflags  = -X main.release=$(RELEASE)
GOARCH ?= $(shell go env GOARCH 2>/dev/null)
export GOARCH
PREFIX ?= /usr/local
out      = dist
tree     = $(out)/root
package  = lab_$(RELEASE:v%=%)_$(GOARCH)
tool     = GOARCH= go tool -modfile=packaging/tools/go.mod

# What is run on Debian's kernel too, which has what the running one may lack: packages, and tests of theirs. Modules that
# these need are listed in testbed/vm/guest.go.
vm_packages = ./cmd/lab ./testbed ./testbed/cgroup ./testbed/suite
vm_tests    = TestDoctorFindsAll TestTunnelTakesFourFiles TestForeignFlowtable TestSwitchImpairs TestImpairmentIsRepaired TestImpairNetem TestModeKeepsItsPromises TestEmulatedAmongReal \
  TestDeviceChangesInPlace TestDeviceIsRepaired TestVLANsAreKeptApart TestVLANDriftIsRepaired \
  TestStateIsTheRealPrograms/(ipip|vlan) TestStateIsHybridnets/hybridnet-vlan TestFaults/(vlan-mismatch|trunk-missing) TestPodsMTU/(ip|vlan) TestProxyIsChanged TestStaleDatagrams/ipvs TestIPVS TestServiceVeth$$/ipvs TestContainers$$ TestContainersAreKilled TestLimits$$ TestDelegated TestPodNetworks/ip TestInterfacesHaveNames/(ip|^vlan) TestWalks/(ip|vlan) \
  TestPredictedAsSeen/(calico-ipip|hybridnet-vlan|terway-ipvlan) TestRealPlugins/(vlan|ipvlan) TestModesAreThePlugins/ipvlan TestSettingsOfTheMachine
# What make soak runs, a file that keeps what its default runs found, and how many of those are made this time.
soak_packages = ./...
soak_tests    = .
soak_file     =
soak_runs     =

.PHONY: help lab cni up down check compare test soak test-vm bench lint update tree install uninstall dist need-go need-root

help:        ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
lab: need-go ## build bin/lab
	@CGO_ENABLED=0 go build -ldflags "$(ldflags)" -o bin/lab ./cmd/lab
cni: need-go ## build the CNI plugins of containernetworking/plugins into bin/cni
	@mkdir -p bin/cni && cd packaging/cni && CGO_ENABLED=0 go build -o ../../bin/cni/ tool
up: lab      ## build the lab LAB in the mode MODE
	@echo 'bin/lab works $(as).'
	@bin/lab up $(LAB) $(mode) $(ARGS)
	@bin/lab status $(LAB)
down: lab    ## remove the lab LAB
	@bin/lab down $(LAB) $(ARGS)
check: lab   ## prove with packets that the lab LAB does what its mode promises
	@bin/lab check $(LAB) $(ARGS)
compare: lab ## measure the modes of LAB against one another; ARGS=--quick for a first look
	@echo 'bin/lab works $(as).'
	@bin/lab compare $(LAB) $(ARGS)
soak: lab cni need-root ## the long forms of the tests in soak_packages, all by default, which take hours; what came of it is written below docs/soak
	@mkdir -p docs/soak; set -o pipefail; $(asroot) LAB_SOAK=1 LAB_SOAK_FILE=$(abspath $(soak_file)) LAB_SOAK_RUNS=$(soak_runs) $(gotest) -timeout 24h -run '$(soak_tests)' $(soak_packages) 2>&1 | $(call tell,soak); failed=$$?; \
	  .ci/soaked bin/soak.log >docs/soak/$$(date -u +%F).md; [ $$failed = 0 ] || $(call explain,soak)
test: lab cni need-root ## every test that this machine can run; says which were skipped and why
	@set -o pipefail; $(asroot) $(gotest) -timeout 45m ./... 2>&1 | $(call tell,test) || $(call explain,test)
test-vm: need-go cni ## the tests of vm_tests, on Debian's kernel in QEMU; none may be skipped there
	@CGO_ENABLED=0 go build -o bin/vm ./testbed/vm
	@set -o pipefail; CGO_ENABLED=0 go test -exec "$(CURDIR)/bin/vm -limit 55m" -timeout 60m -p 1 -count=1 -v -run '$(subst $(space),|,$(vm_tests))' $(vm_packages) 2>&1 | \
	  $(call tell,test-vm) || $(call explain,test-vm)
	@! grep -qe '--- SKIP' bin/test-vm.log || { echo "FAIL: what was skipped is listed because the guest can run it"; exit 1; }
	@for t in $(vm_tests:%='%'); do grep -qe "--- PASS: $${t%%[^A-Za-z0-9_/]*}" bin/test-vm.log || { echo "FAIL: no test is called $$t"; exit 1; }; done
bench: need-go need-root ## what building and measuring cost, against ip -batch and iperf3
	@$(asroot) go test -p 1 -run '^$$' -bench . -benchtime 3x -timeout 60m ./...
lint: need-go ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	@go vet ./... && go tool staticcheck ./...
update: need-go ## write the golden files anew
	@go test ./lab/... ./modes/... ./faults -update
tree: need-go
	@rm -rf $(tree) && mkdir -p $(tree)/bin $(tree)/share/{man/man8,doc/lab,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
	@CGO_ENABLED=0 go build -trimpath -ldflags "-s -w $(ldflags)" -o $(tree)/bin/lab ./cmd/lab
	@GOARCH= go run -tags man -ldflags "$(ldflags)" ./cmd/lab $(tree)/share/man/man8 && gzip -9n $(tree)/share/man/man8/*
	@GOARCH= go build -ldflags "$(ldflags)" -o $(out)/native ./cmd/lab
	@$(out)/native completion bash >$(tree)/share/bash-completion/completions/lab
	@$(out)/native completion zsh >$(tree)/share/zsh/site-functions/_lab
	@$(out)/native completion fish >$(tree)/share/fish/vendor_completions.d/lab.fish
	@rm $(out)/native && cp LICENSE NOTICE LICENSES/* CHANGELOG.md README.md $(tree)/share/doc/lab/
install: tree ## the binary, manual pages and completions, below PREFIX (/usr/local)
	@cd $(tree) && find . -type f -printf '%P\n' | while read -r f; do \
	  install -D -m "$$(if [ -x "$$f" ]; then echo 755; else echo 644; fi)" "$$f" "$(DESTDIR)$(PREFIX)/$$f" || exit 1; done
	@echo "Installed $(DESTDIR)$(PREFIX)/bin/lab"
uninstall: tree ## what install has put there
	@cd $(tree) && find . -type f -printf '%P\n' | while read -r f; do rm -f "$(DESTDIR)$(PREFIX)/$$f"; done
	@for d in share/doc/lab; do rmdir "$(DESTDIR)$(PREFIX)/$$d" 2>/dev/null || true; done
dist: tree     ## what a release consists of, in dist/: archive, Debian package, SBOM, checksums
	@rm -f $(out)/lab_*_$(GOARCH).* $(out)/SHA256SUMS
	@tar -C $(tree) --owner=0 --group=0 --sort=name --transform 's,^\.,$(package),' -czf $(out)/$(package).tar.gz .
	@TREE=$(tree) VERSION=$(RELEASE) ARCH=$(GOARCH) $(tool) nfpm package -f packaging/nfpm.yaml -p deb -t $(out)/$(package).deb >/dev/null
	@$(tool) cyclonedx-gomod bin -json -output $(out)/$(package).sbom.json $(tree)/bin/lab 2>/dev/null
	@cd $(out) && sha256sum lab_* >SHA256SUMS && cat SHA256SUMS
need-go:
	@command -v go >/dev/null || { echo "lab is built with Go 1.26 or newer, and there is no go in PATH: see https://go.dev/dl/ or apt install golang"; exit 1; }
need-root:
	@[ "$$(id -u)" = 0 ] || command -v sudo >/dev/null || { echo "namespaces need root: run make as root, or install sudo"; exit 1; }
