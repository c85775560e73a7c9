# The program of a release to come, for tests/system/test_upgrade.mjs: the same
# as this one, but it supports one feature level more (node/base/feature.c).
NEXT_BIN = $(BUILD)/tests/bastide-next

$(BUILD)/obj/tests/feature-next.o: node/base/feature.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DFEATURE_EXTRA=1 -MMD -MP -c $< -o $@

$(NEXT_BIN): $(BUILD)/obj/node/cli/main.o $(BUILD)/obj/tests/feature-next.o $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(LIBS_ALL)
