# make demo   everything on one machine, with simulated devices      make test    all tests (installs what they need)
# make check  style, types, import contracts, JavaScript types       make bench   start-up, memory, journal, paper
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Real bluetoothd and kernel in a virtual machine, for the Bluetooth tests; without them these say that they are skipped.
APPLIANCE := qemu-system-x86 bluez dbus busybox-static cpio kmod

.PHONY: demo test again walks appliance fuzz check verifier bench bench-sync bench-media bench-devices bench-ecg soak powercut screenshots pins clean

# Goes on without these packages: then without the Bluetooth meters, or without PDFs.
demo: $(VENV)/.demo
	@scripts/install-debian-packages dbus fonts-noto-cjk libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 || true
	@$(BIN)/xunzhen demo $(if $(FRESH),--fresh) $(if $(ECG),--ecg "$(ECG)") $(if $(TRACK),--track "$(TRACK)") \
		$(if $(ULTRASOUND),--ultrasound "$(ULTRASOUND)") $(if $(ROOM),--room "$(ROOM)") $(DEMO)

test: $(VENV)/.test
	@scripts/install-debian-packages chromium fonts-noto-cjk dbus systemd postgresql e2fsprogs fuse3 swtpm tpm2-tools openssl \
		libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 poppler-utils orthanc dicom3tools dcmtk xvfb coturn janus iproute2 gpsd cups cups-client
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long" $(TESTS) || $(MAKE) --no-print-directory again

# What failed while three files ran at a time, once more by itself: only what fails again is a failure. What passes now
# was starved or disturbed by its neighbours, and stands above with its name: find why.
again:
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "not long"

# Walks through pages that take half a minute each of two cores: sessions that sleep or fall silent, every look.
walks: $(VENV)/.test
	$(BIN)/python -m pytest -m long tests/browser

# The Bluetooth tests against a real bluetoothd, with 300 drops and 200 times plugged and pulled; no radio, no KVM.
appliance: $(VENV)/.test
	@scripts/install-debian-packages $(APPLIANCE)
	APPLIANCE_DROPS=300 APPLIANCE_PLUGS=200 $(BIN)/python -m pytest tests/devices/test_bluez_appliance.py $(TESTS)

# Spoiled bytes for every driver, a million each: make fuzz INPUTS=20000 DRIVERS="sinocare_meter gpsd_gnss"
fuzz: $(VENV)/.test
	nice $(BIN)/python -m tests.devices.fuzz_drivers --inputs $(or $(INPUTS),1000000) $(DRIVERS)

check: $(VENV)/.test
	@scripts/install-debian-packages node-typescript systemd
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	tsc -p tsconfig.json
	$(BIN)/python -m pytest -q tests/test_docs.py

# The two verifiers of evidence, one file each: build/xunzhen-verify.pyz (any Python 3.11 makes and runs it) and
# build/xunzhen-verify.html (opens in any browser, offline).
verifier:
	@$(PYTHON) -m sync.standalone
	@$(PYTHON) -m sync.verify_html

bench: $(VENV)/.demo
	$(BIN)/python -m benchmarks

# Delivery, evidence and county over a slow link and a year of data; as root, as it makes network namespaces.
bench-sync: $(VENV)/.test
	@scripts/install-debian-packages rsync iproute2 postgresql
	$(BIN)/python -m benchmarks.bench_sync
	$(BIN)/python -m benchmarks.bench_evidence
	$(BIN)/python -m benchmarks.bench_county
	$(BIN)/python -m benchmarks.bench_lists
	$(BIN)/python -m benchmarks.bench_acceptance

# The live consultation beside plain aiortc: the engine's cost, then what a real Chromium sees over a bad radio (as
# root). One scenario: make bench-media MEDIA=drop2; there are steady drop2 drop1 loss outage rebind address starve
# cellular. The medians of three runs are written into docs/media (about 50 minutes on a quiet machine): TIMES=3.
bench-media: $(VENV)/.test
	@scripts/install-debian-packages chromium iproute2
	$(if $(MEDIA),,$(BIN)/python -m benchmarks.bench_media_engine $(if $(TIMES),--write))
	$(BIN)/python -m benchmarks.bench_media $(MEDIA) --times $(or $(TIMES),1)

# Eight simulated devices at a whole van: CPU beside plain pyserial, with the ECG analysis, latency to the touchscreen,
# samples lost; then 200 times pulled out and put back; frames a second of the ECG sheet. The long run: make bench-devices DEVICES="--seconds 3600"
bench-devices: $(VENV)/.test
	@scripts/install-debian-packages dbus chromium
	$(BIN)/python -m benchmarks.bench_devices $(DEVICES)
	$(BIN)/python -m benchmarks.replug_bluetooth
	$(BIN)/python -m benchmarks.bench_ecg_page

# The ECG chain beside published detectors on annotated recordings: beats, AF, alarms, speed. In two minutes: make
# bench-ecg ECG_SIZE=--short; whole records: ECG_SIZE=--full.
bench-ecg: $(VENV)/.test
	$(BIN)/python -m benchmarks.bench_ecg $(ECG_SIZE)
	$(BIN)/python -m benchmarks.bench_ecg_af $(ECG_SIZE)
	$(BIN)/python -m benchmarks.bench_ecg_shockable $(if $(VFDB),--vfdb "$(VFDB)")

# Eight hours of consultations with joins, leaves and outages, and what must stay flat. The same day in an hour: make
# soak PACE=8; half an hour of it: make soak HOURS=0.5.
soak: $(VENV)/.test
	$(BIN)/python tests/telemedicine/soak.py --hours $(or $(HOURS),8) --pace $(or $(PACE),1)

# About 20 minutes. Needs root, loop devices and /dev/fuse; tests/powercut says what it does.
powercut: $(VENV)/.test
	@scripts/install-debian-packages e2fsprogs fuse3
	nice $(BIN)/python -m tests.powercut --kills 500 --t1 1000 --t2 1000 --controls 100

screenshots: $(VENV)/.test
	@scripts/install-debian-packages chromium fonts-noto-cjk dbus poppler-utils libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0
	$(BIN)/python -m tests.whole.screenshots docs/screens

# Pinned versions with hashes, without addresses; run after changing pyproject.toml or requirements/*.in. What tests,
# demo and runtime share has one version in all three.
pins:
	$(PYTHON) -m venv build/pins && build/pins/bin/pip install -q uv
	cd requirements && for set in test demo runtime; do ../build/pins/bin/uv pip compile -q --generate-hashes --universal \
		--python-version 3.11 --no-emit-index-url --no-header -o $$set.txt ../pyproject.toml build.in \
		$$( [ $$set = runtime ] || echo --extra demo ) \
		$$( [ $$set = test ] && echo --extra postgresql --extra s3 test.in || echo --constraint test.txt ); done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing some hundred Python packages into $(VENV): a few minutes, once"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/demo.txt
	@PYTHONWARNINGS=ignore $(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: requirements/test.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/test.txt
	PYTHONWARNINGS=ignore $(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build demo-data test-results *.egg-info
