# Containers. Included by the Makefile.

.PHONY: image compose-up cross-arm64
image:
	@deploy/docker/engine.sh
	@deploy/docker/image.sh $(if $(filter observability,$(WITH)),observability)

compose-up: image
	@deploy/up.sh

cross-arm64:
	@deploy/cross-arm64.sh
