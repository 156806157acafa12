/**
 * What only Hadoop's connectors can do, for the supervisor of a run: list a storage, and move bytes
 * between two of them, in this process or spread over a cluster's executors.
 *
 * <p>What is moved, and why, is decided in Python; see {@code transfers.py}.
 */
package sparknomad;
