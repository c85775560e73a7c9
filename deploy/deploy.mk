# Containers. Included by the Makefile.

.PHONY: image compose-up
image:
	@deploy/docker/engine.sh
	@deploy/docker/image.sh $(if $(filter observability,$(WITH)),observability)

compose-up: image
	@deploy/up.sh
